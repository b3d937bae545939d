package store

// WithStrayMemory returns options of a salvage that holds few entries at once.
func (o SalvageOptions) WithStrayMemory(bytes int) SalvageOptions {
	o.memory = bytes
	return o
}
