//! How many requests a second the stack answers: `bench URL [CONNECTIONS] [SECONDS]`, closed loop, GET.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let url = arguments[1].strip_prefix("http://").unwrap().to_owned();
    let connections: usize = arguments.get(2).map_or(4, |n| n.parse().unwrap());
    let seconds: u64 = arguments.get(3).map_or(5, |n| n.parse().unwrap());
    let (host, path) = url.split_once('/').unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (host, request) = (host.to_owned(), request.clone());
            std::thread::spawn(move || run(&host, &request, end))
        })
        .collect();
    let mut all: Vec<(u16, Duration)> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    all.sort_by_key(|(_, took)| *took);
    let at = |share: usize| all[(all.len() - 1) * share / 100].1;
    let good = all.iter().filter(|(status, _)| *status == 200).count();
    let rate = all.len() as u64 / seconds;
    println!(
        "{rate} requests/s, {good} of {} were 200, p50 {:?}, p99 {:?}",
        all.len(),
        at(50),
        at(99)
    );
}

fn run(host: &str, request: &str, end: Instant) -> Vec<(u16, Duration)> {
    let mut stream = BufReader::new(TcpStream::connect(host).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let mut done = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut status, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if line.starts_with("HTTP/1.1 ") {
                status = line[9..12].parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
        done.push((status, began.elapsed()));
    }
    done
}
