//go:build !race

package bootstrap_test

const raceDetector = false
