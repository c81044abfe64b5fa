#!/bin/sh
# First process of the lab kernel (user-mode-linux). Its root is the host's files, read-only; it puts
# an overlay on them, so that nothing written here reaches the host, and goes on in there.
#
# KLB_LAB_RUN (from the kernel's command line) names a directory on the host that holds the job and
# takes its output. It is the only thing mounted for writing, beside --out.
#
# Starting a process costs 50 to 100 ms here: hence mount -a, cp and builtins in place of many commands.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
run=$KLB_LAB_RUN

fail() {
    mount -t devtmpfs devtmpfs /dev
    mount -t proc proc /proc
    echo "lab: $*" >/dev/console
    echo o >/proc/sysrq-trigger
    sleep 10
}

mount -t tmpfs -o mode=755 lab /mnt || fail "cannot mount a tmpfs on /mnt"
mkdir /mnt/upper /mnt/work /mnt/root
insmod "$KLB_LAB_MODULES/kernel/fs/overlayfs/overlay.ko" ||
    fail "cannot load overlay.ko from $KLB_LAB_MODULES"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root ||
    fail "cannot mount the overlay"
cd /mnt/root || fail "the overlay is empty"
mount -n -a -T "$run/fstab" || fail "cannot mount what $run/fstab says"
# Links in /dev, the tree of modprobe (and with it the kernel's own autoloading), directories in /run.
cp -a "$run/files/." . || fail "cannot copy $run/files"

# pivot_root and not chroot alone: user namespaces want a root that is the mount namespace's own.
pivot_root . mnt || fail "cannot pivot into the overlay"
exec chroot . /bin/sh /run/klb-lab/guest.sh <dev/console >dev/console 2>&1
