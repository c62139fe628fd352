package vault

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckPath tells what is wrong with a path; nil if it can be one.
func CheckPath(path string) error {
	_, err := checkPath(path)
	return err
}

// checkPath refuses a path that would reach something else than it says, or
// that the server would refuse. One slash at either end does not count.
func checkPath(path string) (string, error) {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if !printable(path) {
		return "", fmt.Errorf("the path %q holds characters that Vault does not take in a name", path)
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "":
			return "", fmt.Errorf("the path %q has an empty part", path)
		case ".", "..":
			return "", fmt.Errorf("the path %q has %q as a part, which no name in Vault can be", path, segment)
		}
	}
	return path, nil
}

// printable is what Vault itself asks of a path, and of a token.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
