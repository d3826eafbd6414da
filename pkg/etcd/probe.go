package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TimeReads times n small reads of each kind through the member, by turns over the open
// connection, and gives the times sorted. A linearizable read asks the leader and a quorum;
// a serializable one is the member's own. It ends early, with what there is, when ctx does, or
// when one read takes longer than limit.
//
// A busy member asks the leader for one batch of reads after the other. A read that came
// right after another's end would just miss the next batch each time, and wait for two; so
// there are pauses, each of a random part of the last read's time.
func (c *Client) TimeReads(ctx context.Context, n int, limit time.Duration) (linearizable, serializable []time.Duration, err error) {
	for range n + 1 { // the first ones warm up
		own, err := c.timeRead(ctx, limit, true)
		if err == nil {
			var asked time.Duration
			if asked, err = c.timeRead(ctx, limit, false); err == nil {
				linearizable, serializable = append(linearizable, asked), append(serializable, own)
				pause(ctx, rand.N(asked+1))
				continue
			}
		}
		if len(linearizable) > 0 && errors.Is(err, context.DeadlineExceeded) {
			break
		}
		return nil, nil, fmt.Errorf("time reads: %w", err)
	}
	if len(linearizable) > 1 {
		linearizable, serializable = linearizable[1:], serializable[1:]
	}
	slices.Sort(linearizable)
	slices.Sort(serializable)
	return linearizable, serializable, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *Client) timeRead(ctx context.Context, limit time.Duration, serializable bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	_, err := pb.NewKVClient(c.raw.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("health"), CountOnly: true, Serializable: serializable})
	return time.Since(began), err
}

// Count is how many keys begin with prefix, by a serializable read: the member answers it
// out of its index alone.
func (c *Client) Count(ctx context.Context, prefix string) (int64, error) {
	r, err := pb.NewKVClient(c.raw.ActiveConnection()).Range(ctx, &pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: afterPrefix(prefix), CountOnly: true, Serializable: true,
	})
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", prefix, err)
	}
	return r.Count, nil
}

// KeyValue is a key with its value.
type KeyValue struct {
	Key   string
	Value []byte
}

// Scan reads what begins with prefix in pages of page keys, by serializable reads, and calls
// each for every key until it gives false. After at most limit keys it ends; 0: there is no limit.
func (c *Client) Scan(ctx context.Context, prefix string, page, limit int64, each func(KeyValue) bool) error {
	kv := pb.NewKVClient(c.raw.ActiveConnection())
	key, seen, end := []byte(prefix), int64(0), afterPrefix(prefix)
	for {
		r, err := kv.Range(ctx, &pb.RangeRequest{Key: key, RangeEnd: end, Limit: page, Serializable: true})
		if err != nil {
			return fmt.Errorf("read %s: %w", prefix, err)
		}
		for _, stored := range r.Kvs {
			seen++
			if !each(KeyValue{string(stored.Key), stored.Value}) || seen == limit {
				return nil
			}
			key = append(stored.Key, 0)
		}
		if !r.More {
			return nil
		}
	}
}

// afterPrefix is the first key that does not begin with prefix.
func afterPrefix(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0} // everything from there on
}

// PeekCertificate is the certificate that a TLS server shows. Nothing is sent to it and its
// name is not verified: it is only looked at, and that the server then wants one of ours does
// not matter.
func PeekCertificate(ctx context.Context, conn net.Conn) (Certificate, error) {
	var leaf *x509.Certificate
	shown := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // it is only looked at
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) (err error) {
			if len(raw) > 0 {
				leaf, err = x509.ParseCertificate(raw[0])
			}
			return err
		},
	})
	err := shown.HandshakeContext(ctx)
	if leaf != nil {
		return NewCertificate(ServerSide, leaf), nil
	}
	return Certificate{}, fmt.Errorf("look at certificate: %w", errors.Join(err, errors.New("none was shown")))
}
