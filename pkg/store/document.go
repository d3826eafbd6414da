package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxDocument bounds what is read of a JSON document.
const maxDocument = 16 << 20

// document is how JSON is stored: its own checksum beside it, over the content's bytes as
// they stand there.
type document struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
	// Signature is the writer's over the content in its place; empty: none.
	Signature []byte `json:"signature,omitempty"`
}

// encodeDocument asks sign for the content's signature; nil: it has none.
func encodeDocument(v any, sign func(content []byte) []byte) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	d := document{SHA256: hex.EncodeToString(sum[:]), Content: content}
	if sign != nil {
		d.Signature = sign(content)
	}
	b, err := json.Marshal(d)
	return append(b, '\n'), err
}

// decodeDocument refuses with ErrDamaged what encodeDocument did not make. Fields that this
// program does not know are a newer one's, and no damage.
func decodeDocument(b []byte, v any) (d document, err error) {
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		return d, damaged("%w", err)
	}
	if rest, err := io.ReadAll(strict.Buffered()); err != nil || string(bytes.TrimRight(rest, "\n")) != "" || strict.More() {
		return d, damaged("there is more behind the document")
	}
	sum := sha256.Sum256(d.Content)
	if d.SHA256 != hex.EncodeToString(sum[:]) {
		return d, damaged("its checksum")
	}
	if err := json.Unmarshal(d.Content, v); err != nil {
		return d, damaged("%w", err)
	}
	return d, nil
}

// readDocument reads one, bounded.
func readDocument(r io.Reader, v any) (document, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return document{}, err
	}
	if len(b) > maxDocument {
		return document{}, damaged("a document of over %d bytes", maxDocument)
	}
	return decodeDocument(b, v)
}

// joinClose gives both errors.
func joinClose(err error, c io.Closer, what string) error {
	if closeErr := c.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close %s: %w", what, closeErr))
	}
	return err
}
