//go:build race

package records_test

// raceEnabled makes the random tests do less: the race detector slows them down some tenfold.
const raceEnabled = true
