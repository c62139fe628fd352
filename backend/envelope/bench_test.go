package envelope

import (
	"testing"
)

func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	blob, err := w.Seal(b.Context(), w.store, "key/reader", []byte(canaryPlain))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.Open(b.Context(), w.store, "key/reader", blob); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	w := newWorld(b)
	plaintext := []byte(canaryPlain)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Seal(b.Context(), w.store, "key/reader", plaintext); err != nil {
			b.Fatal(err)
		}
	}
}
