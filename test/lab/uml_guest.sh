# Second half of the first process: inside the overlay. Runs the job, keeps its output and status.
run=/run/klb-lab
echo klb-lab >/proc/sys/kernel/hostname
echo 1 >/proc/sys/kernel/panic_on_oops
ip link set lo up
# The rest loads by itself. Not so lblc and lblcr: ip_vs asks for a scheduler with its mutex held, these
# two register with all network namespaces, and where one is being removed at that moment, that waits for
# ip_vs's mutex: a deadlock of the kernel, seen in one of thirty tries.
modprobe -a ip_vs ip_vs_lblc ip_vs_lblcr veth bridge

if [ -e $run/tty ]; then
    : >$run/started
    setsid -c -w /bin/sh $run/job.sh </dev/tty1 >/dev/tty1 2>&1
    status=$?
else
    # The job writes into pipes as it would anywhere; cat carries them into files on the host, where
    # hostfs writes through at once.
    mkfifo /run/lab-out /run/lab-err
    cat </run/lab-out >>$run/stdout &
    out=$!
    cat </run/lab-err >>$run/stderr &
    err=$!
    : >$run/started
    (. $run/job.sh) <$run/stdin >/run/lab-out 2>/run/lab-err
    status=$?
    # A process the job left behind may hold the pipes open: its output is not waited for.
    (sleep 1; kill $out $err) 2>/dev/null &
    wait $out
    wait $err
fi
[ -e $run/sync ] && sync
# The name is linked when the content is there: the other side looks for the name.
echo $status >$run/status.new
mv $run/status.new $run/status
echo o >/proc/sysrq-trigger
while :; do sleep 10; done
