package backup

// Hold takes the turn of a check, until the function it returns is called.
func (c *Checker) Hold() (release func()) {
	c.turn <- struct{}{}
	return func() { <-c.turn }
}
