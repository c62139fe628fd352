// Package e2e tests the built plugin in a real Vault, over HTTP, against the
// fake providers. It has tests only.
//
// Most tests share one dev server. Each has a mount and fakes of its own
// ([begin]), so they run side by side; at its end each proves that no key was
// forgotten and that all of them can be withdrawn. What kills plugins or
// servers has a server of its own. The stories in testdata/ are told with
// Vault's command line.
//
// When all is over, the shared server's log and audit file are searched for the
// mark that every secret of every test bears.
package e2e
