//go:build race

package bootstrap_test

// raceDetector: the program is built as the tests are.
const raceDetector = true
