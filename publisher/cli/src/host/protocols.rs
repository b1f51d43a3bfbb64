//! The counters of IP, ICMP, TCP and UDP, as `netstat -s` shows them.
//!
//! /proc/net/snmp and /proc/net/netstat hold pairs of lines: the names behind a protocol, then its numbers.
//! A counter never seen above zero says nothing yet and is left out, as netstat does; that keeps two hundred
//! series of zeros away.

use super::reading::Reading;

/// Better names for the counters everybody asks for; all others are named after what the kernel calls them.
const NAMES: &[(&str, &str, &str)] = &[
    ("Ip", "InReceives", "ip.in.packets"),
    ("Ip", "InDelivers", "ip.in.delivered"),
    ("Ip", "InDiscards", "ip.in.discarded"),
    ("Ip", "InHdrErrors", "ip.in.header_errors"),
    ("Ip", "InAddrErrors", "ip.in.address_errors"),
    ("Ip", "InUnknownProtos", "ip.in.unknown_protocols"),
    ("Ip", "ForwDatagrams", "ip.forwarded"),
    ("Ip", "OutRequests", "ip.out.packets"),
    ("Ip", "OutDiscards", "ip.out.discarded"),
    ("Ip", "OutNoRoutes", "ip.out.no_route"),
    ("Icmp", "InMsgs", "icmp.in.messages"),
    ("Icmp", "InErrors", "icmp.in.errors"),
    ("Icmp", "OutMsgs", "icmp.out.messages"),
    ("Icmp", "OutErrors", "icmp.out.errors"),
    ("Tcp", "ActiveOpens", "tcp.opens.active"),
    ("Tcp", "PassiveOpens", "tcp.opens.passive"),
    ("Tcp", "AttemptFails", "tcp.opens.failed"),
    ("Tcp", "EstabResets", "tcp.resets.established"),
    ("Tcp", "CurrEstab", "tcp.connections"),
    ("Tcp", "InSegs", "tcp.in.segments"),
    ("Tcp", "InErrs", "tcp.in.errors"),
    ("Tcp", "OutSegs", "tcp.out.segments"),
    ("Tcp", "RetransSegs", "tcp.out.retransmitted"),
    ("Tcp", "OutRsts", "tcp.out.resets"),
    ("Udp", "InDatagrams", "udp.in.datagrams"),
    ("Udp", "NoPorts", "udp.in.no_port"),
    ("Udp", "InErrors", "udp.in.errors"),
    ("Udp", "RcvbufErrors", "udp.in.buffer_full"),
    ("Udp", "OutDatagrams", "udp.out.datagrams"),
    ("Udp", "SndbufErrors", "udp.out.buffer_full"),
];

/// Settings that stand among the counters.
const SETTINGS: &[&str] = &["Forwarding", "DefaultTTL", "RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn"];

/// The counters in one of the two files, as totals since the boot.
pub(super) fn readings(text: &str) -> Vec<Reading> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((same, numbers))) =
            (names.split_once(':'), numbers.split_once(':'))
        else {
            break;
        };
        if protocol != same {
            break;
        }
        let pairs = names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace());
        for (name, number) in pairs.filter(|(name, _)| !SETTINGS.contains(name)) {
            let Some(count) = number.parse::<u64>().ok() else { continue };
            let known = NAMES.iter().find(|known| (known.0, known.1) == (protocol, name));
            let name = match known {
                Some((_, _, name)) => (*name).to_owned(),
                None if count == 0 => continue,
                None => plain_name(protocol, name),
            };
            found.push(Reading { name, unit: "", value: count as f64 });
        }
    }
    found
}

/// `TcpExt`, `TCPFastRetrans` become `tcp.ext.fast_retrans`.
fn plain_name(protocol: &str, counter: &str) -> String {
    let (family, group) = match protocol.strip_suffix("Ext") {
        Some(family) => (family.to_ascii_lowercase(), ".ext"),
        None => (protocol.to_ascii_lowercase(), ""),
    };
    let own = counter.strip_prefix(&family.to_ascii_uppercase()).filter(|rest| !rest.is_empty());
    format!("{family}{group}.{}", snake_case(own.unwrap_or(counter)))
}

/// `DSACKOldSent` becomes `dsack_old_sent`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, c) in chars.iter().enumerate() {
        let after_small = index > 0 && !chars[index - 1].is_ascii_uppercase();
        // An `s` that ends a run of capitals is their plural, no word: `ACKs`.
        let small = chars.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let plural = chars.get(index + 1) == Some(&'s') && index + 2 == chars.len();
        let before_small = small && !plural;
        if c.is_ascii_uppercase() && index > 0 && (after_small || before_small) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_names_that_sort_together() {
        let check =
            |protocol: &str, counter: &str, name: &str| assert_eq!(plain_name(protocol, counter), name);
        check("TcpExt", "TCPFastRetrans", "tcp.ext.fast_retrans");
        check("TcpExt", "TCPDSACKOldSent", "tcp.ext.dsack_old_sent");
        check("TcpExt", "DelayedACKs", "tcp.ext.delayed_acks");
        check("TcpExt", "TW", "tcp.ext.tw");
        check("IpExt", "InOctets", "ip.ext.in_octets");
        check("UdpLite", "InDatagrams", "udplite.in_datagrams");
        check("IcmpMsg", "InType3", "icmpmsg.in_type3");
    }

    #[test]
    fn the_two_lines_of_a_protocol_belong_together() {
        let text = "Ip: Forwarding InReceives Odd\nIp: 1 42 0\nTcp: MaxConn CurrEstab New\nTcp: -1 3 9\nUdp: InErrors\n";
        let expected = [("ip.in.packets", 42.0), ("tcp.connections", 3.0), ("tcp.new", 9.0)];
        let found: Vec<(String, f64)> = readings(text).into_iter().map(|r| (r.name, r.value)).collect();
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
        assert!(readings("garbage\nmore\n").is_empty());
        assert!(readings("A: x\nB: 1\n").is_empty());
    }
}
