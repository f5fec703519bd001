//! The floor: one thread that receives on one socket and sends on another, and does nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use anyhow::Result;

use super::{Tls, announce};
use crate::load::Leg;

const BUFFER: usize = 64 * 1024;

pub(super) fn start(tls: Tls) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?, None)?;
    thread::spawn(move || -> Result<()> {
        loop {
            // The load opens one socket after the other: every second one is where the bytes of the one before go.
            let from = Leg::accept(listener.accept()?.0, tls.as_ref())?;
            let to = Leg::accept(listener.accept()?.0, tls.as_ref())?;
            thread::spawn(move || carry(from, to));
        }
    });
    Ok(())
}

fn carry(mut from: Leg, mut to: Leg) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            len => to.write_all(&buffer[..len])?,
        }
    }
}
