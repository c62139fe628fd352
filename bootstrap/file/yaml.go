package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlProblem is the form of YAML's errors. The words are the parser's own,
// except for the name of an anchor.
var yamlProblem = regexp.MustCompile(`^yaml: (?:line \d+: )?(?:unknown anchor '(.*)' referenced|(.*))$`)

// parseYAML parses one document. Aliases stay aliases; nil is no document, or
// an error, which it reports.
func (l *loader) parseYAML(name string, src []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		l.yamlError(name, src, err)
		return nil
	}
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		l.yamlError(name, src, err)
		return nil
	default:
		l.broken[name] = true
		l.errorf(Position{File: name, Line: second.Line, Column: second.Column},
			"Put them into files of their own, or take the --- out.", "a second YAML document in one file")
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// yamlError reports a syntax error. The parser's own line is often that where
// the surrounding object begins, so the place is looked for: the first line
// with which the text goes wrong in the same way.
func (l *loader) yamlError(name string, src []byte, err error) {
	l.broken[name] = true
	m := yamlProblem.FindStringSubmatch(err.Error())
	if m == nil {
		l.errorf(Position{File: name, Line: 1}, "", "not YAML")
		return
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	ends := make([]int, len(lines)+1)
	for i, line := range lines {
		ends[i+1] = ends[i] + len(line)
	}
	line := 1 + sort.Search(len(lines)-1, func(i int) bool {
		return sameProblem(yamlProblem.FindStringSubmatch(yamlProblemOf(src[:ends[i+1]])), m)
	})
	at := Position{File: name, Line: line}
	if m[1] != "" {
		l.errorf(at, "Text that begins with * stands in quotes.", "an alias without an anchor before it")
		return
	}
	l.errorf(at, "", "not YAML: %s", m[2])
}

func sameProblem(a, b []string) bool { return a != nil && a[1] == b[1] && a[2] == b[2] }

// yamlProblemOf is what is wrong with a text; "" for nothing.
func yamlProblemOf(src []byte) string {
	d := yaml.NewDecoder(bytes.NewReader(src))
	for {
		var doc yaml.Node
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return ""
		case err != nil:
			return err.Error()
		}
	}
}

// parseJSON parses one JSON value into the same tree as YAML; nil is an error,
// which it reports.
func (l *loader) parseJSON(name string, src []byte) *yaml.Node {
	var raw json.RawMessage
	if err := json.Unmarshal(src, &raw); err != nil {
		l.broken[name] = true
		offset := len(bytes.TrimRight(src, " \t\r\n"))
		if wrong := (*json.SyntaxError)(nil); errors.As(err, &wrong) {
			offset = min(offset, max(0, int(wrong.Offset)-1))
		}
		l.errorf(positionAt(name, src, offset), jsonHint(src, offset), "not JSON")
		return nil
	}
	r := &jsonReader{src: src, decoder: json.NewDecoder(bytes.NewReader(src)), line: 1}
	r.decoder.UseNumber()
	root, ok := r.value(1)
	if !ok {
		l.broken[name] = true
		l.errorf(Position{File: name, Line: root.Line, Column: root.Column}, "", "nested more than %d deep", maxDepth)
		return nil
	}
	return root
}

// jsonHint says what is usually wrong where JSON ends to be JSON.
func jsonHint(src []byte, offset int) string {
	if offset >= len(bytes.TrimRight(src, " \t\r\n")) {
		return "It ends in the middle: a bracket or a quotation mark is missing."
	}
	before := bytes.TrimRight(src[:offset], " \t\r\n")
	switch c := src[offset]; {
	case (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")):
		return "There is a comma too much."
	case c == '/' || c == '#':
		return `JSON has no comments; an entry "//" is taken for one.`
	case c == '"':
		return "A comma or a colon is missing."
	}
	return "Text and names stand in double quotes, with commas between the entries."
}

// positionAt is the place of an offset.
func positionAt(name string, src []byte, offset int) Position {
	before := src[:max(0, min(offset, len(src)))]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return Position{File: name, Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(line)}
}

// A jsonReader makes a tree of JSON that is known to be valid.
type jsonReader struct {
	src     []byte
	decoder *json.Decoder
	// line is that of the offset done, and begin the offset where it begins.
	done, begin, line int
}

// next reads a token, and makes a node where it begins.
func (r *jsonReader) next() (json.Token, *yaml.Node) {
	start := int(r.decoder.InputOffset())
	for start < len(r.src) && strings.IndexByte(" \t\r\n,:", r.src[start]) >= 0 {
		start++
	}
	for ; r.done < start; r.done++ {
		if r.src[r.done] == '\n' {
			r.line, r.begin = r.line+1, r.done+1
		}
	}
	token, err := r.decoder.Token()
	if err != nil {
		token = nil // it was valid
	}
	return token, &yaml.Node{Line: r.line, Column: 1 + utf8.RuneCount(r.src[r.begin:start])}
}

// value reads one value. It answers false, and where, if that is nested too
// deep.
func (r *jsonReader) value(depth int) (*yaml.Node, bool) {
	token, n := r.next()
	if depth > maxDepth {
		return n, false
	}
	n.Kind = yaml.ScalarNode
	switch v := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.decoder.More() {
			item, ok := r.value(depth + 1)
			if !ok {
				return item, false
			}
			n.Content = append(n.Content, item)
		}
		_, _ = r.next() // the closing bracket
	case string:
		n.Tag, n.Value, n.Style = "!!str", v, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", v.String()
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	default:
		n.Tag = "!!null"
	}
	return n, true
}
