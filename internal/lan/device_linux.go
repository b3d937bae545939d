package lan

import (
	"bytes"
	"io/fs"
	"os"
	"path"
)

// virtualDevice asks /sys. Where that is not to be read, as in some containers, it answers false.
func virtualDevice(name string) bool { return virtualIn(os.DirFS("/sys/class/net"), name) }

func virtualIn(sys fs.FS, name string) bool {
	if exists(sys, name, "tun_flags") { // a VPN, or a virtual machine's cable
		return true
	}
	if exists(sys, name, "master") { // a part of a bridge or bond, which is what has the addresses
		return true
	}
	members, err := fs.ReadDir(sys, path.Join(name, "brif"))
	if err != nil {
		return false // no bridge
	}
	// A bridge is the home network if a cable or Wi-Fi is plugged into it; those of containers and virtual machines have none.
	for _, m := range members {
		uevent, _ := fs.ReadFile(sys, path.Join(m.Name(), "uevent")) // vlan, wlan and bond say what they are; veth and tap don't
		if exists(sys, m.Name(), "device") || bytes.Contains(uevent, []byte("DEVTYPE=")) {
			return false
		}
	}
	return true
}

func exists(sys fs.FS, name, file string) bool {
	_, err := fs.Stat(sys, path.Join(name, file))
	return err == nil
}
