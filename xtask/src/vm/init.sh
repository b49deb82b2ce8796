#!/bin/sh
# First process of a guest: prepares the kernel, runs the programs, powers off.
export PATH=/usr/sbin:/usr/bin:/applets HOME=/tmp TMPDIR=/tmp
/usr/bin/busybox mkdir -p /applets /proc /sys /dev /tmp /run /var/run
/usr/bin/busybox --install -s /applets
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
ln -sfn /proc/self/fd /dev/fd
# BPF and trace file systems stay unmounted: the programs must do without.
echo /applets/modprobe >/proc/sys/kernel/modprobe
while read -r module; do
    modprobe "$module" 2>/dev/null || echo "no module $module"
done </modules
ip link set lo up
echo "@shell $(uname -r)"
/usr/bin/dash /run-tests.sh
echo "@exit $?"
# No -f without a sync: there is nothing to write.
poweroff -f
