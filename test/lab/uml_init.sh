#!/bin/sh
# First process of the lab kernel (user-mode-linux). Its root is the host's files, read-only; it puts
# an overlay on them, so that nothing written here reaches the host, and runs the job in there.
#
# KLB_LAB_RUN (from the kernel's command line) names a directory on the host that holds the job and
# takes its output. It is the only thing mounted for writing, beside --out.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
run=$KLB_LAB_RUN
release=$(uname -r)
modules=/usr/lib/uml/modules/$release

fail() {
    mount -t devtmpfs devtmpfs /dev
    echo "lab: $*" >/dev/console
    echo o >/proc/sysrq-trigger
    sleep 10
}

mount -t proc proc /proc
mount -t tmpfs -o mode=755 lab /mnt || fail "cannot mount a tmpfs on /mnt"
mkdir /mnt/upper /mnt/work /mnt/root
insmod "$modules/kernel/fs/overlayfs/overlay.ko" || fail "cannot load overlay.ko for $release"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root ||
    fail "cannot mount the overlay"
cd /mnt/root || fail "the overlay is empty"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm tmp run lib/modules
mount -t devpts -o mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mkdir run/lock run/netns run/klb-lab
mount -t hostfs -o "$run" klb-lab run/klb-lab || fail "cannot mount $run"
ln -sfn /proc/self/fd dev/fd
ln -sfn /proc/self/fd/0 dev/stdin
ln -sfn /proc/self/fd/1 dev/stdout
ln -sfn /proc/self/fd/2 dev/stderr
# modprobe, and with it the kernel's own autoloading of schedulers and link types, finds its tree here.
[ -e "lib/modules/$release" ] || ln -s "$modules" "lib/modules/$release"
echo klb-lab >/proc/sys/kernel/hostname
echo 1 >/proc/sys/kernel/panic_on_oops

# pivot_root and not chroot alone: `ip netns exec` and `unshare -m` want a root that is a mount point.
# The old root stays below /mnt, detached lazily, since the overlay's lower layer needs it.
mkdir -p mnt/host
pivot_root . mnt/host || fail "cannot pivot into the overlay"
exec chroot . /bin/sh /run/klb-lab/guest.sh <dev/console >dev/console 2>&1
