//! Where clients come in: a public address, and beside it, where one is asked for, a file that only its owner can open.

use std::fs::{Permissions, remove_file, set_permissions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// How a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) peer: IpAddr,
    /// The address it was sent to, where the listener is bound to every address.
    pub(crate) local: Option<IpAddr>,
    /// Through the file: whoever can open it may do everything.
    pub(crate) trusted: bool,
}

/// One way in.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    File(UnixListener),
}

/// A client's connection.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    File(UnixStream),
}

/// A socket's file; removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Listener {
    /// Takes one client.
    ///
    /// - `bound_to_all`: the public address is that of every interface
    pub(crate) fn accept(&self, bound_to_all: bool) -> io::Result<(Socket, Via)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                let local = if bound_to_all { socket.local_addr().ok() } else { None };
                let local = local.map(|address| address.ip().to_canonical());
                let via = Via { peer: address.ip().to_canonical(), local, trusted: false };
                Ok((Socket::Tcp(socket), via))
            }
            Listener::File(listener) => {
                let (socket, _) = listener.accept()?;
                let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
                Ok((Socket::File(socket), Via { peer, local: None, trusted: true }))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::File(listener) => listener.as_fd(),
        }
    }
}

impl Socket {
    /// Readies it for the poll thread.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                // Without it answers are right, only later.
                let _ = socket.set_nodelay(true);
                Ok(())
            }
            Socket::File(socket) => socket.set_nonblocking(true),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.shutdown(how),
            Socket::File(socket) => socket.shutdown(how),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&mut &*socket).read(buffer),
            Socket::File(socket) => (&mut &*socket).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&mut &*socket).write(bytes),
            Socket::File(socket) => (&mut &*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::File(socket) => socket.as_fd(),
        }
    }
}

impl SocketFile {
    /// Listens at `path`, mode 0600, in place of whatever a killed server left there.
    ///
    /// Two servers at one path are the caller's to prevent: the later one takes it.
    pub(crate) fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        match remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let file = SocketFile(path.to_owned());
        set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((listener, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = remove_file(&self.0);
    }
}
