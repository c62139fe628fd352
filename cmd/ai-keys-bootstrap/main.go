// Command ai-keys-bootstrap sets up the Vault around the engine from one file:
//
//	ai-keys-bootstrap validate | plan | apply | verify | export | policy | destroy
//
// Its help says how; package bootstrap says how it works.
//
// One file for each command holds what it does, and no more: what is read and
// compared and written is package bootstrap's.
//
//	command.go    the commands, their flags and their help
//	program.go    one run: what it prints to, and how it ends
//	connect.go    from a file to a session with a server
//	interrupt.go  SIGINT and SIGTERM
//	output.go     the documents of --json
//	fault.go      errors and exit codes
package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	// A reader that goes away (apply | head) must not end an apply half-way.
	signal.Ignore(syscall.SIGPIPE)
	p := newProgram(os.Stdin, os.Stdout, os.Stderr)
	p.name = filepath.Base(os.Args[0])
	os.Exit(p.run(os.Args[1:]))
}
