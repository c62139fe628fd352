package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

// TestRun reads what the program says when it is ready, and then ends it.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		done := make(chan error, 1)
		args := []string{"--openai-admin-key", "sk-admin-mine"}
		if asJSON {
			args = append(args, "--json")
		}
		go func() { done <- run(ctx, args, w, io.Discard) }()
		in := bufio.NewReader(r)
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if asJSON {
			var a fakes.Addresses
			if err := json.Unmarshal([]byte(line), &a); err != nil || a.OpenAI.AdminKey != "sk-admin-mine" || !strings.HasSuffix(a.OpenAI.BaseURL, "/openai/v1") {
				t.Errorf("said %q: %v", line, err)
			}
		} else if !strings.Contains(line, "http://127.0.0.1:") {
			t.Errorf("said %q", line)
		}
		cancel()
		go io.Copy(io.Discard, in) // ends with the pipe
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
		w.Close()
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"extra"}, {"--made-up"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	if err := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}
