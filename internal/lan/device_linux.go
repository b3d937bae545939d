package lan

import (
	"bytes"
	"os"
	"path/filepath"
)

// virtualDevice asks /sys. Where that is not to be read, as in some containers, it answers false.
func virtualDevice(name string) bool {
	dir := filepath.Join("/sys/class/net", name)
	if exists(dir, "tun_flags") { // a VPN, or a virtual machine's cable
		return true
	}
	if exists(dir, "master") { // a part of a bridge or bond, which is what has the addresses
		return true
	}
	members, err := os.ReadDir(filepath.Join(dir, "brif"))
	if err != nil {
		return false // no bridge
	}
	// A bridge is the home network if a cable or Wi-Fi is plugged into it; those of containers and virtual machines have none.
	for _, m := range members {
		member := filepath.Join("/sys/class/net", m.Name())
		uevent, _ := os.ReadFile(filepath.Join(member, "uevent")) // vlan, wlan and bond say what they are; veth and tap don't
		if exists(member, "device") || bytes.Contains(uevent, []byte("DEVTYPE=")) {
			return false
		}
	}
	return true
}

func exists(dir, file string) bool {
	_, err := os.Lstat(filepath.Join(dir, file))
	return err == nil
}
