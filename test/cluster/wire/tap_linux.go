package wire

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const tunPath = "/dev/net/tun"

// OpenTap makes a TAP device in the network namespace of the caller, for Wires.Open.
// It goes when it is closed. It has no offloads, so that the kernel cuts what it
// sends into frames of the MTU and fills in the checksums.
func OpenTap(device string) (io.ReadWriteCloser, error) {
	// It must be a TAP before the runtime polls it, hence not os.OpenFile.
	fd, err := openTun()
	if err != nil {
		return nil, err
	}
	if err := makeTap(fd, device); err != nil {
		return nil, errors.Join(fmt.Errorf("create TAP device %s: %w", device, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil
}

func makeTap(fd int, device string) error {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

// openTun opens the way to TUN and TAP devices, and makes it where /dev lacks it.
func openTun() (int, error) {
	const flags = unix.O_RDWR | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(tunPath, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll("/dev/net", 0o755); err != nil {
			return 0, err
		}
		if err := unix.Mknod(tunPath, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
			return 0, fmt.Errorf("make %s, which lines with a delay need: %w", tunPath, err)
		}
		fd, err = unix.Open(tunPath, flags, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: lines with a delay need a kernel with TUN (CONFIG_TUN, modprobe tun): %w", tunPath, err)
	}
	return fd, nil
}

// Sleep is for Wires.Sleep. The runtime's own timers wait in whole milliseconds, and
// the kernel's are late by 50 µs unless asked not to be.
func Sleep(d time.Duration) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // of this thread; without, later
	request := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&request, nil) // after a signal, the wire looks at the clock again
}
