package main

import "runtime/debug"

// Version is set when a release is built.
var Version string

// version is the release, or what the build knows of the commit.
func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}
