package etcd

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// chunkCodec is grpc's own codec with buffers that fit a snapshot's messages: 32 KiB of
// the database and some bytes around it (snapshotSendBufferSize in etcdserver's
// v3rpc/maintenance.go). grpc's default pool has nothing between 32 KiB and 1 MiB, and
// clears each buffer that it gives out: a quarter of a backup's CPU time.
type chunkCodec struct {
	encoding.CodecV2
	pool mem.BufferPool
}

func newChunkCodec() chunkCodec {
	return chunkCodec{CodecV2: encoding.GetCodecV2(proto.Name), pool: mem.NewTieredBufferPool(33<<10, 1<<20)}
}

func (c chunkCodec) Unmarshal(data mem.BufferSlice, v any) error {
	whole := data.MaterializeToBuffer(c.pool)
	defer whole.Free()
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v) // takes a single buffer as it is
}
