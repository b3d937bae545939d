package store

// PinCopies turns the pins for copies on or off, for files that are opened from now on.
func PinCopies(on bool) {
	copyWindow = "off"
	if on {
		copyWindow = ""
	}
}
