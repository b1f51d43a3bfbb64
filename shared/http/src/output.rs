//! Bytes on their way to one client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

/// One system call takes no more than this, so that one client with a big answer does not hold up the
/// others.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// Parts to be written one after the other.
#[derive(Debug, Default)]
pub(crate) struct Output {
    parts: VecDeque<Vec<u8>>,
    /// Bytes of the first part that are written.
    written: usize,
    bytes: usize,
    /// Memory of all parts; one that is partly written still has all of its own.
    held: usize,
}

impl Output {
    pub(crate) fn push(&mut self, part: Vec<u8>) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.held += part.capacity();
            self.parts.push_back(part);
        }
    }

    /// What is still to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it takes to hold that.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Writes what the socket takes now. Returns how much that was; an error is the end of the client.
    pub(crate) fn write_to(&mut self, mut socket: impl Write) -> io::Result<usize> {
        let mut count = 0;
        while let Some(first) = self.parts.front()
            && count < WRITE_BYTES_MAX
        {
            let rest = &first[self.written..];
            // Not write_vectored: this one also keeps a gone client from raising SIGPIPE.
            match socket.write(&rest[..rest.len().min(WRITE_BYTES_MAX)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    count += written;
                    self.forget(written);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(count)
    }

    fn forget(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        if let Some(first) = self.parts.pop_front_if(|first| first.len() == self.written) {
            self.written = 0;
            self.held -= first.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn parts_arrive_whole_and_in_order_however_slowly_they_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        let mut output = Output::default();
        let mut expected = Vec::new();
        for n in 0..2000_usize {
            let part = vec![n as u8; n * 7 % 5000];
            expected.extend_from_slice(&part);
            output.push(part);
        }
        let bytes = output.bytes();
        let mut written = 0;
        let mut arrived = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        while !output.is_empty() {
            let count = output.write_to(&writer).unwrap();
            written += count;
            if count > 0 {
                let taken = reader.read(&mut buffer).unwrap();
                arrived.extend_from_slice(&buffer[..taken]);
            }
        }
        drop(writer);
        reader.read_to_end(&mut arrived).unwrap();
        assert_eq!(written, bytes);
        assert!(arrived == expected);
    }
}
