//! A SYN as the bytes that nftables loads.

use std::net::IpAddr;

use super::{Interface, Packet, TCP};
use crate::evidence::{
    netlink::octets,
    rules::table::{Field, Operand, state},
};

impl Packet<'_> {
    /// Bytes as nftables loads them; `None`: not known.
    pub fn bytes(&self, operand: &Operand) -> Vec<Option<u8>> {
        let length = usize::from(operand.length);
        let mut bytes = self.field(&operand.field);
        bytes.resize(length, None);
        if operand.swapped {
            bytes.reverse();
        }
        if let Some(altered) = &operand.altered {
            for (byte, (mask, xor)) in bytes.iter_mut().zip(altered.0.iter().zip(&altered.1)) {
                *byte = if *mask == 0 {
                    Some(*xor)
                } else {
                    byte.map(|b| b & mask ^ xor)
                };
            }
        }
        bytes
    }

    fn field(&self, field: &Field) -> Vec<Option<u8>> {
        let known = |bytes: &[u8]| bytes.iter().copied().map(Some).collect();
        match field {
            Field::Network { offset, length } => cut(self.network(), *offset, *length),
            Field::Transport { offset, length } => cut(self.transport(), *offset, *length),
            Field::InterfaceIn => interface(&self.interface),
            Field::InterfaceOut => interface(&self.way_out),
            Field::Protocol => known(&[TCP]),
            Field::NfProto => known(&[if self.client.is_ipv4() { 2 } else { 10 }]),
            Field::EtherType => known(if self.client.is_ipv4() {
                &[0x08, 0]
            } else {
                &[0x86, 0xdd]
            }),
            Field::Mark if self.mark.0 == u32::MAX => known(&self.mark.1.to_ne_bytes()),
            Field::AddressType(side) => match self.address(*side, |a| self.is_own(a)) {
                Some(true) => known(&2_u32.to_ne_bytes()),
                _ => Vec::new(),
            },
            Field::State => {
                let bits = if self.state == state::UNTRACKED {
                    1 << 6
                } else {
                    self.state.into()
                };
                known(&u32::to_ne_bytes(bits))
            }
            Field::Constant(bytes) => known(bytes),
            _ => Vec::new(),
        }
    }

    fn network(&self) -> Vec<Option<u8>> {
        let destination = match &*self.destinations {
            [one] if !self.open => Some(one.ip()),
            _ => None,
        };
        let (size, protocol, at, width) = match self.client {
            IpAddr::V4(_) => (20, 9, 12, 4),
            IpAddr::V6(_) => (40, 6, 8, 16),
        };
        let mut header = vec![None; size];
        let mut put = |at: usize, bytes: &[u8]| {
            for (cell, byte) in header.iter_mut().skip(at).zip(bytes) {
                *cell = Some(*byte);
            }
        };
        put(protocol, &[TCP]);
        if !self.any_client {
            put(at, &octets(self.client));
        }
        if let Some(destination) = destination {
            put(at + width, &octets(destination));
        }
        header
    }

    fn transport(&self) -> Vec<Option<u8>> {
        let mut header = vec![None; 20];
        let destination = match &*self.destinations {
            [one] if !self.open => Some(one.port()),
            _ => None,
        };
        for (at, port) in [(0, self.client_port), (2, destination)] {
            for (cell, byte) in header
                .iter_mut()
                .skip(at)
                .zip(port.map(u16::to_be_bytes).into_iter().flatten())
            {
                *cell = Some(byte);
            }
        }
        header
    }
}

fn cut(header: Vec<Option<u8>>, offset: u8, length: u8) -> Vec<Option<u8>> {
    let bytes = header.into_iter().skip(offset.into());
    bytes.take(length.into()).collect()
}

fn interface(of: &Interface) -> Vec<Option<u8>> {
    let name = match of {
        Interface::Open => return Vec::new(),
        Interface::Missing => "",
        Interface::Named(name) => name,
    };
    let padded = name.bytes().chain(std::iter::repeat(0));
    padded.take(16).map(Some).collect()
}
