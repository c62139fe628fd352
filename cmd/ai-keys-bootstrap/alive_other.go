//go:build !unix

package main

// alive says yes: there is no boot id here either, so nobody relies on a no.
func alive(int) bool { return true }
