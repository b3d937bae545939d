package lan

import (
	"testing"
	"testing/fstest"
)

// TestVirtual has what /sys says on machines with real cables, which a namespace lacks.
func TestVirtual(t *testing.T) {
	sys := fstest.MapFS{}
	for file, text := range map[string]string{
		"eth0/device/vendor": "", "eth0/uevent": "INTERFACE=eth0\n",
		"eth1/device/vendor": "", "eth1/master/type": "",
		"wlan0/uevent": "DEVTYPE=wlan\nINTERFACE=wlan0\n", "wlan0/master/type": "",
		"eth0.5/uevent": "DEVTYPE=vlan\n", "eth0.5/master/type": "",
		"veth1/uevent": "INTERFACE=veth1\n", "veth1/master/type": "",
		"br-lan/brif/eth1/port_no": "", "br-lan/brif/veth1/port_no": "",
		"br-wifi/brif/wlan0/port_no":  "",
		"br-vlan/brif/eth0.5/port_no": "",
		"br-0a1b/brif/veth1/port_no":  "",
		"virtual/tun_flags":           "0x1001",
	} {
		sys[file] = &fstest.MapFile{Data: []byte(text)}
	}
	for name, want := range map[string]bool{
		"eth0": false, "eth1": true, "wlan0": true, "veth1": true, "virtual": true,
		"br-lan": false, "br-wifi": false, "br-vlan": false, "br-0a1b": true, "none": false,
	} {
		if got := virtualIn(sys, name); got != want {
			t.Errorf("%s is virtual: %v", name, got)
		}
	}
}
