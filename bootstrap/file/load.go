package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A loader reads one document.
type loader struct {
	// root is the description of a whole file.
	root  *schema.Block
	diags Diagnostics
	// broken are the files with syntax errors: what seems to be missing may
	// stand where the parser did not get to. Of those that are scanned, perhaps
	// has every name that they may declare, as "secret okta".
	broken, scanned map[string]bool
	perhaps         map[string]bool
	// firstError is where in a file of HCL its first syntax error is, in bytes.
	firstError map[string]int
	bodies     []*hclsyntax.Body
	files      []string

	secrets map[string]*declaration
	locals  map[string]*local
	// chain are the locals that are being evaluated.
	chain []string
	// spent is what references and functions have produced; see maxValues.
	spent int
}

// A declaration is a secret block, by its label alone.
type declaration struct {
	at   Position
	used bool
}

func newLoader(top []*schema.Block) *loader {
	return &loader{
		root:    &schema.Block{Blocks: append([]*schema.Block{localsBlock, secretBlock}, top...)},
		broken:  make(map[string]bool),
		scanned: make(map[string]bool),
		perhaps: make(map[string]bool),

		firstError: make(map[string]int),
		secrets:    make(map[string]*declaration),
		locals:     make(map[string]*local),
	}
}

// errorf reports a mistake, and the way out: detail, or that of its words.
func (l *loader) errorf(at Position, detail, format string, args ...any) {
	summary := fmt.Sprintf(format, args...)
	if detail == "" {
		detail = wayOut(summary)
	}
	l.diags = append(l.diags, Diagnostic{Severity: Error, At: at, Summary: summary, Detail: detail})
}

func (l *loader) warnf(at Position, detail, format string, args ...any) {
	l.diags = append(l.diags, Diagnostic{Severity: Warning, At: at, Summary: fmt.Sprintf(format, args...), Detail: detail})
}

// extensions are the names of files that can be read.
var extensions = []string{".hcl", ".yaml", ".yml", ".json"}

// find makes a list of files of what the operator named.
func (l *loader) find(paths []string) []string {
	var (
		files []string
		seen  = make(map[string]bool)
	)
	add := func(name string) {
		if abs, err := filepath.Abs(name); err == nil && !seen[abs] {
			seen[abs] = true
			files = append(files, name)
		}
	}
	for _, p := range paths {
		at := Position{File: p}
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, os.ErrNotExist):
			l.errorf(at, "", "there is no such file or folder")
		case err != nil:
			l.errorf(at, "", "it cannot be read")
		case info.IsDir():
			names := l.inFolder(p)
			if len(names) == 0 {
				l.errorf(at, "Files in it have to end in "+quoted(extensions)+".", "the folder has no files to read")
			}
			for _, name := range names {
				add(name)
			}
		case !slices.Contains(extensions, filepath.Ext(p)):
			l.errorf(at, "The name has to end in "+quoted(extensions)+".", "the file's syntax is not known")
		default:
			add(p)
		}
	}
	return files
}

// inFolder lists the files of a folder; editors' hidden files are left out.
func (l *loader) inFolder(folder string) []string {
	entries, err := os.ReadDir(folder) // in the order of the names
	if err != nil {
		l.errorf(Position{File: folder}, "", "the folder cannot be read")
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(folder, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains(extensions, filepath.Ext(name)) {
			continue
		}
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			names = append(names, name)
		}
	}
	return names
}

// read reads and parses one file.
func (l *loader) read(name string) {
	src, err := readFile(name, maxFile)
	if err != nil {
		l.broken[name] = true
		l.errorf(Position{File: name}, "", "%s", err.Error())
		return
	}
	l.files = append(l.files, name)
	l.parse(name, src)
}

// parse makes a body of a file's text. All three syntaxes end as HCL's tree.
func (l *loader) parse(name string, src []byte) {
	if at := firstNoText(src); at >= 0 {
		l.broken[name] = true
		l.errorf(positionAt(name, src, at), "", "%s", errNoText)
		return
	}
	if what := odd(string(src)); what != "" {
		l.broken[name] = true
		l.errorf(positionAt(name, src, firstOdd(src)), "Remove it.", "the file contains %s", what)
		return
	}
	var body *hclsyntax.Body
	switch filepath.Ext(name) {
	case ".hcl":
		body = l.parseHCL(name, src)
	case ".json":
		if tree := l.parseJSON(name, src); tree != nil {
			body = l.body(name, tree)
		}
	default:
		if tree := l.parseYAML(name, src); tree != nil {
			body = l.body(name, tree)
		}
	}
	if body != nil {
		l.bodies = append(l.bodies, body)
	}
}

func (l *loader) parseHCL(name string, src []byte) *hclsyntax.Body {
	start := hcl.Pos{Line: 1, Column: 1}
	tokens, _ := hclsyntax.LexConfig(src, name, start) // the parser says again what is wrong
	if at, problem := tooDeep(tokens); problem != "" {
		l.scan(name, tokens)
		l.errorf(position(at), "", "%s", problem)
		return nil
	}
	parsed, diags := hclsyntax.ParseConfig(src, name, start)
	l.found(diags, src)
	for _, d := range diags {
		if d.Summary != redefinition && d.Subject != nil {
			if first, known := l.firstError[name]; !known || d.Subject.Start.Byte < first {
				l.firstError[name] = d.Subject.Start.Byte
			}
		}
		if d.Summary != redefinition {
			l.scan(name, tokens)
		}
		if strings.HasPrefix(d.Summary, "Unclosed") || strings.HasPrefix(d.Summary, "Unterminated") {
			return nil // everything behind it is in the wrong place
		}
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return nil
	}
	return body
}

// load reads files and makes a document of them.
func (l *loader) load(files []string) *Document {
	for _, name := range files {
		l.read(name)
	}
	return l.document()
}

// document evaluates what was parsed.
func (l *loader) document() *Document {
	doc := &Document{Files: l.files, Partial: len(l.broken) > 0}
	root := l.gather()
	for _, name := range sortedNames(l.locals) {
		l.resolve(name)
	}
	whole := &Node{Block: l.root}
	for _, attr := range inOrder(root.Attributes) {
		l.unknownField(whole, attr)
	}
	l.blocks(whole, root.Blocks)
	for _, n := range whole.Nodes {
		if n.Block != secretBlock {
			doc.Nodes = append(doc.Nodes, n)
			continue
		}
		if !hclsyntax.ValidIdentifier(n.Labels[0]) {
			l.errorf(n.At, "It takes letters, digits, _ and -, and begins with a letter.", "%q cannot be the name of a secret", n.Labels[0])
		}
		doc.Secrets = append(doc.Secrets, Secret{Name: n.Labels[0], From: n.String("from"), At: n.At})
	}
	if !l.diags.HasErrors() {
		l.unused()
	}
	return doc
}

// gather puts the files together, and takes out the locals and the names of
// the secrets, so that all of them are known before anything is evaluated.
func (l *loader) gather() *hclsyntax.Body {
	root := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for _, body := range l.bodies {
		for _, attr := range inOrder(body.Attributes) {
			// Files may repeat a name, and none is known here.
			root.Attributes[position(attr.NameRange).String()+" "+attr.Name] = attr
		}
		for _, b := range body.Blocks {
			switch {
			case b.Type == localsBlock.Name:
				l.declareLocals(b)
				continue
			case b.Type == secretBlock.Name && len(b.Labels) == 1:
				if _, there := l.secrets[b.Labels[0]]; !there {
					l.secrets[b.Labels[0]] = &declaration{at: position(b.TypeRange)}
				}
			}
			root.Blocks = append(root.Blocks, b)
		}
	}
	return root
}

// unused warns of secrets that nothing refers to.
func (l *loader) unused() {
	for _, name := range sortedNames(l.secrets) {
		if d := l.secrets[name]; !d.used {
			l.warnf(d.at, "Refer to it as "+reference(d.at, "secret."+name)+", or remove it.", "secret %q is not used", name)
		}
	}
}
