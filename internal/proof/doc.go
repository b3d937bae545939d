// Package proof proves Croft's promises about durability as a user meets them: it builds the real binary, runs it in
// processes of its own on real files, and holds what is there afterwards against a ledger of what was acknowledged.
// It has tests only, and writes no keys.
//
// What the tests prove, and how their long forms run:
//
//   - TestCopies: a plain copy of the running file, by whatever tool and at whatever pace, opens and is the state of one
//     moment, with every write acknowledged before the copy began.
//     go test ./internal/proof -run 'TestCopies$' -timeout 2h -args -copies 500
//   - TestCopiesControl: with the pins turned off, the same finds torn copies.
//   - TestKill: after a kill -9 at any moment every acknowledged write is there, and none is half there.
//     go test ./internal/proof -run TestKill -timeout 2h -args -kills 1000
//   - TestFlippedBits: a file with a flipped bit is never served wrong.
//     go test ./internal/proof -run TestFlippedBits -timeout 2h -args -flips 5000
//   - TestDiskFull, TestOutOfFiles, TestClock: what else goes wrong on a machine costs nothing that was acknowledged.
//
// Each prints its seed; -args -seed N repeats its choices, though not the moments at which the system ran what.
package proof
