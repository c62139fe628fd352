package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// place is where process ids mean the same: one boot of this kernel and one PID
// namespace. Containers share a machine's kernel, and often its name. It is ""
// where there is no /proc that tells.
func place() string {
	boot, err := os.ReadFile(filepath.Join("/proc", "sys", "kernel", "random", "boot_id"))
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink(filepath.Join("/proc", "self", "ns", "pid"))
	if err != nil || began(os.Getpid()) == "" {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + namespace
}

// began is when a process was started, in the kernel's ticks; "" if it is not
// running. The name in the file may hold anything, so what is after it counts.
func began(pid int) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const state, start = 0, 19 // of what is after the name
	if len(fields) <= start || fields[state] == "Z" {
		return ""
	}
	return fields[start]
}
