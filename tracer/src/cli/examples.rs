//! What stands below the flags in `--help` and in the manual pages.

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer check                     what this kernel and these privileges allow
  tracer run                       watch 30000-32767, serve on port 9400
  tracer run --help                all settings
  tracer top                       what happens now, port by port
  tracer explain                   which ports failed in the last minute, and why
  tracer events --follow           each failure as it happens
  tracer replay capture.pcap       the same from a capture, without privileges

Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 tracer explain
found a problem, 69 this kernel or these privileges cannot do it, 78 wrong
configuration";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  tracer run
  tracer run --interface ens5 --node-ports 30080,30100-30200
  tracer run --probe-source 10.0.0.0/24 --probe-source fd00:1::/64 --probe-method ping
  TRACER_LOG_LEVEL=debug tracer run --config /etc/tracer/tracer.yaml

Flags win over the environment, the environment over the file. A file has the
long flags as keys, with _ for -; lists in the environment are separated by
commas:
  node_ports: 30000-32767
  probe_source: [10.0.0.0/24]
  web:
    listen_address: 127.0.0.1:9400";

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  tracer top                                     ? shows the keys
  tracer top -d 1 --last 10s --filter failing
  tracer top --sort p99
  tracer top -b -n 3 -d 5                        three tables, 5 s apart
  tracer top -b -d 10 -o json | jq -c '.ports[] | [.node_port, .recent.outcomes]'
  tracer top -o json | jq .ports                 one object

One row per port: attempts a second, handshakes by how they ended, why they
failed (as of tracer explain), what they were for, time to the first answer,
retransmissions, open connections, and failures over the last minutes, 5 s a
character. ! marks a port with a problem that has a name, ? failures without.

Counts are about the last minute (--last, key w), or since the daemon's start
(--totals, key d). JSON has both: `recent` and `total`. TRY/S counts attempts
that began in the window. All other counts, `attempts` among them, are of those
under way in it, also when they began before, so that failures are never more
than attempts.

Keys: arrows, j, k move; enter: detail (outcomes over time, why, backends,
clients, last failures); / filter; s, S sort; d totals; w window; space pause; ?
help; esc back; q, Ctrl-C quit.

A running daemon is asked over its socket; its own settings hold, those given
here do not. When it goes away, that is said, and it is asked again every second.
Without a daemon, tracer watches by itself, which needs the same privileges as
tracer run; counts begin then. Without a terminal it prints plain text. NO_COLOR
is respected.

Exit codes: 0 done (Ctrl-C, SIGTERM and a closed pipe too), 1 failed while
running, 2 wrong usage, 69 this kernel or these privileges cannot do it, 78 wrong
configuration";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  tracer explain                              all ports, the last minute
  tracer explain --last 10m --port 30102      one port, the last ten minutes
  tracer explain -o json | jq '.verdicts[]'   for programs
  tracer explain > /dev/null || echo trouble  in scripts

The columns: port (! with a problem, ? with failures but no cause), attempts
under way in the window, handshakes that succeeded (half_open: a check like
HAProxy's, that hangs up at the answer), those that failed, what they were for,
time to the first answer (median and 99th percentile), and who answered those
that failed (unknown: not reported yet, which takes up to two seconds).

An attempt that began before the window and ended in it counts as tried in it,
and so does one that is not decided yet. So TRIED is OK + FAILED + not decided
yet + not followed, and FAILED is the sum of FAILED BY.

A running daemon is asked over its socket; its own settings hold, those given
here do not. Without a daemon, tracer watches by itself for the time of --last,
from now on, which needs the same privileges as tracer run. Ctrl-C ends that
early and explains what was seen until then; a second Ctrl-C quits.

Without an attempt it says whether the tap would have seen one. It tells what may
keep packets from it (XDP and tc programs that run before it, translation in a
bridge, interfaces that are not tapped, addresses that are not watched), dials
made on this node itself, and SYNs to addresses that are not this node's.

Exit codes: 0 healthy, 3 at least one problem, 1 failed while running, 2 wrong
usage, 69 no attempt was seen and something keeps packets from the tap, or this
kernel or these privileges cannot do it, 78 wrong configuration, 130 quit by a
second Ctrl-C";

pub(super) const EVENTS_EXAMPLES: &str = "\
Examples:
  tracer events                                what the daemon remembers
  tracer events --follow --port 30102          one port, as it happens
  tracer events -f --outcome refused,timed_out
  tracer events --service thrift/users --client 10.0.0.0/16 --since 5m
  tracer events --verdict nothing_listens --backend 10.244.0.7:9092
  tracer events -f -o json | jq -r .client     one JSON object per line

One line per failure, in order of time: when it was decided (UTC), the client,
the node's address and port that it dialled, the interface by which its SYN came
in, the Service, the backend that NAT chose, the outcome, who answered, the
verdict as far as this one failure tells, the time from the SYN to the decision,
and what the kernel noted. - stands for what is not known. A terminal of fewer
than 200 columns has the most telling of these in a line, the rest below it.

A running daemon is asked over its socket; its own settings hold, those given
here do not. --follow begins with what it remembers. Without a daemon, tracer
watches by itself and follows, which needs the same privileges as tracer run.

Exit codes: 0 done (Ctrl-C and a closed pipe too), 1 failed while running or the
daemon ended, 2 wrong usage, 69 this kernel or these privileges cannot do it, 78
wrong configuration";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  tracer replay capture.pcap
  tcpdump -i eth0 -s 160 -w - tcp or icmp or icmp6 | tracer replay -
  tcpdump -i eth0 -s 0 -w - udp port 4789 | tracer replay -
  tracer replay --node-address 10.0.3.17 any.pcapng.gz
  tracer replay -o json old.pcap new.pcap | jq '.verdicts[]'
  tracer replay --openmetrics capture.pcap > tracer.prom

Reads Ethernet, Linux cooked v1 and v2, raw IP and loopback captures, through
VLAN, VXLAN (so VPC traffic mirroring sends packets), Geneve, GRE, ERSPAN, IP
in IP, MPLS and PPPoE. Counts like the daemon: the settings that matter are
--node-ports, --handshake-timeout, --idle-after, --expire-after, --probe-source
and --probe-method; the others do nothing here. Time is that of the capture: what
was open at its end stays open. Ctrl-C ends reading and tells what was seen; a
second Ctrl-C quits. What packets alone cannot tell is said below the answer.

Without --node-address, every address that SYNs to --node-ports go to counts as
the node's, which is said in the output; with it, SYNs to watched ports of other
addresses, as a Service's, are counted as passed over.

Exit codes: 0 healthy, 3 at least one problem, 1 no attempt at a watched port
was read, a file cannot be read or is no capture, 2 wrong usage, 78 wrong
configuration, 130 quit by a second Ctrl-C";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  tracer check
  tracer check -o json
  tracer check --web.config.file /etc/tracer/web.yml
  tracer check --config /etc/tracer/tracer.yaml --wire-tap tcx

Files with settings, TLS and users are read as tracer run would read them.

Exit codes: 0 all required hooks can be attached, 69 one cannot, 78 wrong
configuration";

pub(super) const HEALTH_EXAMPLES: &str = "\
Examples:
  tracer health
  tracer health --live
  tracer health --socket /run/tracer/tracer.sock

The daemon is asked over its socket, as tracer explain asks: that works also where
its HTTP pages want a password or a certificate (--web.config.file).

Exit codes: 0 ready (with --live: it answers), 1 it is not, or nobody answers";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tracer completions bash > /etc/bash_completion.d/tracer
  tracer completions zsh > /usr/local/share/zsh/site-functions/_tracer";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  tracer man | man -l -
  tracer man run > /usr/local/share/man/man1/tracer-run.1";
