//! seccomp: the calls that a thread has no use for.

use std::collections::BTreeMap;

use anyhow::Context as _;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that give or use power which the daemon does not need after its start.
const REFUSED: &[libc::c_long] = &[
    // Other programs, other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Signals; those to a thread of this process are allowed below.
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // Other identities.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    // What the machine is.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    // Ways into the kernel.
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    // Device files.
    libc::SYS_mknod,
    libc::SYS_mknodat,
];

/// What sockets a thread may make; those that it has been given stay of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// None: who answers requests, keeps names from a file, judges or logs.
    None,
    /// Of these families, none of which it connects: who follows interfaces and taps them. (One
    /// of `AF_UNIX` is how the C library asks for an interface's number.)
    Interfaces,
    /// To hosts, by TCP or UDP: who asks the Kubernetes API and a name server.
    Hosts,
    /// Any: who reads what the kernel knows, in all network namespaces.
    Any,
}

impl Sockets {
    /// The families that it may make, where that is bounded.
    fn families(self) -> Option<&'static [libc::c_int]> {
        match self {
            Self::None => Some(&[]),
            Self::Interfaces => Some(&[libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET]),
            Self::Hosts => Some(&[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]),
            Self::Any => None,
        }
    }

    /// Whether it sends to nobody but by connections that others made.
    fn is_silent(self) -> bool {
        self == Self::None
    }
}

/// Takes from the calling thread, and from those that it starts from now on, the calls that it
/// has no use for: they fail with EPERM. Returns whether that was possible.
pub fn confine(sockets: Sockets) -> bool {
    if !super::begun() {
        return false;
    }
    let confined = try_confine(sockets);
    if let Err(error) = &confined {
        tracing::info!(cause = format!("{error:#}"), "no seccomp");
    }
    confined.is_ok()
}

pub(super) fn try_confine(sockets: Sockets) -> anyhow::Result<()> {
    // A call without rules is refused whatever its arguments.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // The C library ends the process so, should it have to.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![unless(0, &[own])?]);
    if let Some(families) = sockets.families() {
        let families: Vec<u64> = families
            .iter()
            .filter_map(|f| (*f).try_into().ok())
            .collect();
        let made = match families.as_slice() {
            [] => Vec::new(),
            some => vec![unless(0, some)?],
        };
        rules.insert(libc::SYS_socket, made);
    }
    if matches!(sockets, Sockets::None | Sockets::Interfaces) {
        rules.insert(libc::SYS_connect, Vec::new());
    }
    if sockets.is_silent() {
        rules.insert(libc::SYS_bind, Vec::new());
        rules.insert(libc::SYS_listen, Vec::new());
        // With an address; without, it is how send(3) is called.
        let nowhere = SeccompCmpOp::Ne;
        let address = SeccompCondition::new(4, SeccompCmpArgLen::Qword, nowhere, 0)?;
        rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![address])?]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().context("architecture")?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let filter: BpfProgram = filter.try_into().context("compile the filter")?;
    Ok(seccompiler::apply_filter(&filter)?)
}

/// Holds for a call whose argument is none of these numbers, of 32 bits.
fn unless(argument: u8, numbers: &[u64]) -> anyhow::Result<SeccompRule> {
    let is_not = |number: &u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *number)
    };
    let conditions = numbers.iter().map(is_not).collect::<Result<_, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixListener, UnixStream},
        thread,
    };

    use nix::{
        errno::Errno,
        sys::signal::kill,
        unistd::{Pid, getppid},
    };

    use super::*;

    /// Which of these a thread with such sockets can do: signal another process, open a TCP
    /// connection and a UDP socket, connect to a unix socket.
    fn can(sockets: Sockets) -> [bool; 4] {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("tracer-calls-{}-{sockets:?}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let can = thread::scope(|scope| {
            let confined = scope.spawn(|| {
                nix::sys::prctl::set_no_new_privs().unwrap();
                try_confine(sockets).unwrap();
                // To oneself it is nobody's harm.
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGURG).unwrap();
                [
                    kill(getppid(), None) != Err(Errno::EPERM),
                    TcpStream::connect(address).is_ok(),
                    UdpSocket::bind("127.0.0.1:0").is_ok(),
                    UnixStream::connect(&path).is_ok(),
                ]
            });
            confined.join().unwrap()
        });
        std::fs::remove_file(&path).unwrap();
        can
    }

    #[test]
    fn threads_signal_nobody_and_dial_only_whom_they_have_to() {
        assert_ne!(kill(Pid::this(), None), Err(Errno::EPERM));
        assert_eq!(can(Sockets::None), [false; 4]);
        assert_eq!(can(Sockets::Interfaces), [false; 4]);
        assert_eq!(can(Sockets::Hosts), [false, true, true, false]);
        assert_eq!(can(Sockets::Any), [false, true, true, true]);
    }

    #[test]
    fn what_was_open_goes_on() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let (one, other) = UnixDatagram::pair().unwrap();
        let confined = thread::spawn(move || {
            use std::io::Write as _;
            nix::sys::prctl::set_no_new_privs().unwrap();
            try_confine(Sockets::None).unwrap();
            let (mut accepted, _) = tcp.accept().unwrap();
            accepted.write_all(b"page").unwrap();
            one.send(b"x").unwrap();
        });
        confined.join().unwrap();
        let mut page = String::new();
        std::io::Read::read_to_string(&mut &client, &mut page).unwrap();
        assert_eq!(page, "page");
        assert_eq!(other.recv(&mut [0]).unwrap(), 1);
    }
}
