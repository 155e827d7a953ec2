use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// How far a Redis node's cluster bus is above its port.
pub const BUS_OFFSET: u16 = 10_000;

/// Below the ports that systems hand out for `:0` and for outgoing connections (from 32768 on Linux, from 49152
/// elsewhere), bus included. So nobody takes a server's port by chance while it is down between a kill and a
/// restart, which happens soon to a port that came from binding `:0`.
const RANGE: RangeInclusive<u16> = 12_000..=22_000;

/// A port of 127.0.0.1 on which nothing listens at this moment, nor on the one [`BUS_OFFSET`] above it.
///
/// Another process may still take it before the server does, which then ends at once: start again on another one.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when a hundred attempts found none; else the error of binding a port.
pub fn free_port() -> io::Result<u16> {
    for _ in 0..100 {
        let port = fastrand::u16(RANGE);
        if is_free(port)? && is_free(port + BUS_OFFSET)? {
            return Ok(port);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("no free port of 127.0.0.1 in {RANGE:?}"),
    ))
}

fn is_free(port: u16) -> io::Result<bool> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error),
    }
}
