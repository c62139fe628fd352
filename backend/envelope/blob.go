package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// blobVersion is the format of a Blob. It is bound into each seal.
const blobVersion = "v1"

var encoding = base64.RawStdEncoding.Strict()

// A Blob is a sealed value: "v1:<data key id>:<base64 of nonce, ciphertext and
// tag>". It is not secret, and opens only at the storage path it was sealed for.
type Blob string

// DataKey is the id of the data key that b is sealed with, or "" if b is none.
func (b Blob) DataKey() string {
	id, _, err := b.split()
	if err != nil {
		return ""
	}
	return id
}

func (b Blob) split() (id, sealed string, err error) {
	version, rest, ok := strings.Cut(string(b), ":")
	if ok {
		id, sealed, ok = strings.Cut(rest, ":")
	}
	switch {
	case !ok || id == "":
		return "", "", fmt.Errorf("%w: not a sealed value", ErrCorrupt)
	case version != blobVersion:
		return "", "", fmt.Errorf("%w: not of format %s; was it written by a newer version?", ErrCorrupt, blobVersion)
	}
	return id, sealed, nil
}

// buffers hold additional data and ciphertext, never a plaintext.
var buffers = sync.Pool{New: func() any { return newBuffer() }}

func newBuffer() *[]byte {
	b := make([]byte, 0, 1024)
	return &b
}

func buffer() *[]byte {
	b, ok := buffers.Get().(*[]byte)
	if !ok {
		panic("envelope: a stranger in the pool")
	}
	return b
}

// sealBlob seals plaintext for one place. Each call draws a random nonce, which
// is safe for 2^32 seals with one data key.
func sealBlob(aead cipher.AEAD, dataKey, mount, path string, plaintext []byte) Blob {
	buf := buffer()
	defer buffers.Put(buf)
	ad := appendBound((*buf)[:0], blobVersion, mount, path)
	//nolint:gosec // no nonce is passed: NewGCMWithRandomNonce draws one
	out := aead.Seal(ad, nil, plaintext, slices.Clip(ad))
	*buf = out

	sealed := out[len(ad):]
	b := make([]byte, 0, len(blobVersion)+len(dataKey)+2+encoding.EncodedLen(len(sealed)))
	b = append(append(append(append(b, blobVersion...), ':'), dataKey...), ':')
	return Blob(encoding.AppendEncode(b, sealed))
}

func openBlob(aead cipher.AEAD, sealed, mount, path string) ([]byte, error) {
	buf := buffer()
	defer buffers.Put(buf)
	ad := appendBound((*buf)[:0], blobVersion, mount, path)
	text := append(ad[:len(ad):cap(ad)], sealed...)
	all, err := encoding.AppendDecode(text, text[len(ad):])
	*buf = all
	ciphertext := all[len(text):]
	if err != nil || len(ciphertext) < aead.Overhead() {
		return nil, fmt.Errorf("%w: cut short or altered", ErrCorrupt)
	}
	plaintext, err := aead.Open(make([]byte, 0, len(ciphertext)-aead.Overhead()), nil, ciphertext, ad)
	if err != nil {
		return nil, fmt.Errorf("%w: it was sealed for another mount or path, or altered since", ErrCorrupt)
	}
	return plaintext, nil
}

// appendBound appends parts so that no two lists of parts look the same.
func appendBound(b []byte, parts ...string) []byte {
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// keyBytes is the size of a data key: AES-256.
const keyBytes = 32

// newAEAD expands key, which the caller then overwrites.
func newAEAD(key *[keyBytes]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for another key size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for another cipher than AES
	}
	return aead
}
