package store

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// fetchAhead has the system read a file from its beginning to its end, until stop is called: who walks over its tree jumps to and
// fro, and would wait for each jump (with a cold cache 8 s for 900 MB on the machine that this was measured on, and 2.5 s so). A file that is
// larger than half of the memory there is for it would push out what was read first, so it is left alone.
func fetchAhead(ctx context.Context, file *os.File, size int64) (stop func()) {
	if size > availableMemory()/2 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		// Two parts are on their way at most: a server's commits wait behind what was asked of the disk before them.
		const part = 2 << 20
		last := make([]byte, 1)
		for at := int64(0); at < size && ctx.Err() == nil; at += part {
			if unix.Fadvise(int(file.Fd()), at, part, unix.FADV_WILLNEED) != nil {
				return
			}
			if at == 0 {
				continue
			}
			if _, err := file.ReadAt(last, at-1); err != nil {
				return // who wants these bytes will be told
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// availableMemory is how many bytes of memory can be had without swapping, and 0 if that is not known.
func availableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, text, found := bytes.Cut(text, []byte("MemAvailable:"))
	fields := bytes.Fields(text)
	if !found || len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
