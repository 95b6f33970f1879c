//! How fast one TCP stream is between two stacks that are joined by one thread, without nodes or tunnels between: what the
//! stack itself costs. Prints the rate, and the rate for each core that was used, both ends together.
//!
//! `cargo run --release -p sluice-runtime --example stack_throughput [mebibytes]`

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sluice_runtime::stack::{Stack, StackConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MTU_BYTES: u16 = 1420;
const MEBIBYTES: u64 = 2048;
const BUFFER_BYTES: usize = 128 * 1024;

fn main() -> std::io::Result<()> {
    let mebibytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(MEBIBYTES);
    let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    for network in ["10.0.0.", "fd00::"] {
        let [near, far] = [1_u8, 2].map(|number| {
            let address: IpAddr = format!("{network}{number}").parse().expect("an address");
            let config = StackConfig {
                addresses: vec![address],
                mtu_bytes: MTU_BYTES,
                buffer_bytes_max: 256 << 20,
                flows_max: 1000,
                seed: [number; 32],
                workers: 1,
            };
            (Stack::new(config, tasks.handle()), address)
        });
        join(&near.0, &far.0);
        let (wall, cpu) = tasks.block_on(stream(near, far, mebibytes << 20))?;
        let gigabits = (mebibytes << 20) as f64 * 8.0 / 1e9;
        println!(
            "{network}: {:.2} Gbit/s, {:.2} Gbit/s for each core",
            gigabits / wall.as_secs_f64(),
            gigabits / cpu.as_secs_f64()
        );
    }
    Ok(())
}

/// What one sends is handed to the other, by a thread that lasts as long as the program.
fn join(near: &Stack, far: &Stack) {
    let (near, far) = (near.clone(), far.clone());
    std::thread::spawn(move || {
        let this = std::thread::current();
        for stack in [&near, &far] {
            let this = this.clone();
            stack.door(0).set_bell(Box::new(move || this.unpark()));
        }
        let mut room = vec![0; 65_535];
        loop {
            for (from, to) in [(&near, &far), (&far, &near)] {
                while let Some((len, header)) = from.door(0).read(&mut room) {
                    to.receive(0, header, &[IoSlice::new(&room[..len])]);
                }
            }
            if near.door(0).is_empty() && far.door(0).is_empty() {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    });
}

async fn stream(
    (near, from): (Stack, IpAddr),
    (far, to): (Stack, IpAddr),
    bytes: u64,
) -> std::io::Result<(Duration, Duration)> {
    let at = SocketAddr::new(to, 80);
    let mut listener = far.listen(at).map_err(std::io::Error::other)?;
    let reader = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.ok_or(std::io::ErrorKind::NotConnected)?;
        let (mut buffer, mut read) = (vec![0; BUFFER_BYTES], 0);
        loop {
            match stream.read(&mut buffer).await? {
                0 => return std::io::Result::Ok(read),
                len => read += len as u64,
            }
        }
    });
    let mut stream = near.connect(from, at).await?;
    let (start, cpu) = (Instant::now(), cpu_time());
    let buffer = vec![7; BUFFER_BYTES];
    for _ in 0..bytes / BUFFER_BYTES as u64 {
        stream.write_all(&buffer).await?;
    }
    stream.shutdown().await?;
    let read = reader.await??;
    assert_eq!(read, bytes, "every byte arrives");
    Ok((start.elapsed(), cpu_time() - cpu))
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
