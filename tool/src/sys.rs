// SPDX-License-Identifier: Apache-2.0
//! System calls that neither `std` nor a crate of ours wraps.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What the kernel said, if `result` is its way to say that it failed.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}

/// Locks a file against others that lock it, until it is closed; false if another one has it.
pub fn lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let how = if exclusive {
        libc::LOCK_EX
    } else {
        libc::LOCK_SH
    };
    // SAFETY: flock takes no pointer, and the descriptor is open while `file` lives.
    match check(unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// Another handle of the same file, without the buffer that std has before it.
pub fn unbuffered(file: impl AsFd) -> io::Result<File> {
    file.as_fd().try_clone_to_owned().map(File::from)
}

/// The settings of a terminal.
pub fn terminal_settings(terminal: impl AsFd) -> io::Result<libc::termios> {
    let mut settings = MaybeUninit::uninit();
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the pointer is to a termios that is ours until the call returns.
    check(unsafe { libc::tcgetattr(fd, settings.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it has filled it.
    Ok(unsafe { settings.assume_init() })
}

/// Changes the settings of a terminal, once all that was printed is out. It may be called in a
/// signal handler: POSIX has tcsetattr in its list of what may, and no lock is taken.
pub fn set_terminal(terminal: impl AsFd, settings: &libc::termios) -> io::Result<()> {
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the pointer is to a termios that outlives the call, which only reads it.
    check(unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, settings) }).map(|_| ())
}

/// The same settings for a program that reads each key itself.
pub fn raw(settings: &libc::termios) -> libc::termios {
    let mut raw = *settings;
    // SAFETY: the pointer is to a termios of ours.
    unsafe { libc::cfmakeraw(&mut raw) };
    raw
}

/// Columns and rows of a terminal.
pub fn terminal_size(terminal: impl AsFd) -> io::Result<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ fills the winsize that the pointer is to, which is ours until then.
    check(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()) })?;
    // SAFETY: all zeros and whatever the kernel wrote are numbers.
    let size = unsafe { size.assume_init() };
    Ok((size.ws_col, size.ws_row))
}

/// A limit that is none.
pub const NO_LIMIT: u64 = libc::RLIM_INFINITY;

/// RLIMIT_MEMLOCK: the limit that holds, and what it may be raised to.
pub fn memlock() -> io::Result<(u64, u64)> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: getrlimit fills the rlimit that the pointer is to, which is ours until then.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) })?;
    // SAFETY: all zeros and whatever the kernel wrote are numbers.
    let limit = unsafe { limit.assume_init() };
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets it.
pub fn set_memlock(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: setrlimit reads the rlimit that the pointer is to, which outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) }).map(|_| ())
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set, sigaddset changes it; numbers that are no signals are
    // refused without harm.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Keeps `signals` from this thread and those that it starts, so that [`wait_for`] gets them.
pub fn block(signals: &[libc::c_int]) {
    // SAFETY: the set is ours, and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set_of(signals), std::ptr::null_mut()) };
}

/// Waits for one of `signals`, which are blocked.
pub fn wait_for(signals: &[libc::c_int]) -> io::Result<libc::c_int> {
    let mut signal = 0;
    // SAFETY: both pointers are to what is ours.
    match unsafe { libc::sigwait(&set_of(signals), &mut signal) } {
        0 => Ok(signal),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits until one of the descriptors can be read, or has an error to be read; answers which.
pub fn wait_readable(files: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut polls: Vec<_> = files
        .iter()
        .map(|file| libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    loop {
        // SAFETY: the pointer is to as many pollfds of ours, whose descriptors are open while
        // `files` lives.
        match check(unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, -1) }) {
            Ok(_) => return Ok(polls.iter().map(|poll| poll.revents != 0).collect()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether there is a network interface of that name.
pub fn has_interface(name: &CStr) -> bool {
    // SAFETY: the pointer is to a string that ends in 0 and outlives the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Ends the process as `signal` would have, had it not been blocked.
pub fn die_of(signal: libc::c_int) -> ! {
    // SAFETY: none of these takes a pointer but to a set of ours; the default disposition runs no
    // code of ours.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set_of(&[signal]), std::ptr::null_mut());
    }
    // Only a signal that does not end a process comes here.
    std::process::exit(128 + signal)
}

/// Ends the process in a signal handler.
pub fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: _exit takes no pointer and runs nothing of this process.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_is_no_terminal() {
        let reader = File::open("/dev/null").unwrap();
        assert!(terminal_settings(&reader).is_err());
        assert!(terminal_size(&reader).is_err());
    }

    #[test]
    fn what_can_be_read_is_told_from_what_cannot() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        let (other, _open) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut writer, b"x").unwrap();
        let ready = wait_readable(&[other.as_fd(), reader.as_fd()]).unwrap();
        assert_eq!(ready, [false, true]);
    }

    #[test]
    fn the_loopback_interface_is_there() {
        assert!(has_interface(c"lo"));
        assert!(!has_interface(c"no such"));
    }

    #[test]
    fn blocked_signals_are_waited_for() {
        std::thread::spawn(|| {
            block(&[libc::SIGUSR2]);
            // SAFETY: raise takes no pointer.
            unsafe { libc::raise(libc::SIGUSR2) };
            assert_eq!(wait_for(&[libc::SIGUSR2]).unwrap(), libc::SIGUSR2);
        })
        .join()
        .unwrap();
    }
}
