package tunnel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// startEtcd starts one member with mutual TLS; its certificate is for localhost.
func startEtcd(t *testing.T) (address string, client *tls.Config) {
	t.Helper()
	cert, key, client := newCertificate(t)
	config := embed.NewConfig()
	config.Dir = t.TempDir()
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	config.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: cert, ClientCertAuth: true}
	listen := url.URL{Scheme: "https", Host: freePort(t)}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	peer := url.URL{Scheme: "http", Host: freePort(t)}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.Name + "=" + peer.String()
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	return listen.Host, client
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newCertificate makes a certificate that signs itself, for server and client.
func newCertificate(t *testing.T) (certFile, keyFile string, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, content := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

// connect makes an etcd client whose connections are tunnels.
func connect(t *testing.T, d *Dialer, tlsConfig *tls.Config) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://localhost:2379"}, TLS: tlsConfig, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return d.DialContext(ctx, testPod, 2379)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestEtcdThroughTheTunnel(t *testing.T) {
	address, tlsConfig := startEtcd(t)
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		server := startAPIServer(t, address, change)
		client := connect(t, server.dialer(t, Options{}), tlsConfig)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for i := range 8 {
			if _, err := client.Put(ctx, fmt.Sprintf("key%d", i), string(make([]byte, 300<<10))); err != nil {
				t.Fatal(err)
			}
		}
		got, err := client.Get(ctx, "key7")
		if err != nil || len(got.Kvs) != 1 || len(got.Kvs[0].Value) != 300<<10 {
			t.Fatalf("get: %v, %v", got, err)
		}
		checkSnapshot(t, ctx, client)

		server.network.cut() // grpc redials by itself
		for {
			if _, err = client.Get(ctx, "key7"); err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			t.Errorf("get after the drop: %v", err)
		}
	})
}

// checkSnapshot reads a snapshot, which ends with the sha256 of what comes before.
func checkSnapshot(t *testing.T, ctx context.Context, client *clientv3.Client) { //nolint:revive // t first, as everywhere
	t.Helper()
	snapshot, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Snapshot.Close()
	db, err := io.ReadAll(snapshot.Snapshot)
	if err != nil || len(db) < 2<<20 {
		t.Fatalf("snapshot of %d bytes, %v", len(db), err)
	}
	split := len(db) - sha256.Size
	if sum := sha256.Sum256(db[:split]); !bytes.Equal(sum[:], db[split:]) {
		t.Error("the snapshot is not what etcd sent")
	}
}
