//! Datagrams in a seeded world, and the names that are asked for by them.

use super::{MILLION, ip};
use mailrail_runtime::clock::{self, NEVER};
use mailrail_runtime::dns::server::{Record, Zone, serve};
use mailrail_runtime::dns::{DnsError, Options, Resolver};
use mailrail_runtime::net::datagram::{Bound, Datagram};
use mailrail_runtime::sim::{Weather, World};
use mailrail_runtime::timer;
use std::io::ErrorKind;

#[test]
fn datagrams_are_lost_doubled_and_overtake_each_other() {
    let run = |weather: Weather| {
        World::run(3, |world| async move {
            world.network().set(weather);
            let server = Bound::bind((ip(5), 53).into()).unwrap();
            let client = Datagram::connect(server.local().unwrap()).unwrap();
            for number in 0..100u8 {
                client.send(&[number]).await.unwrap();
            }
            let mut got = Vec::new();
            let mut buffer = [0; 9];
            let all = async {
                loop {
                    let (len, from) = server.receive(&mut buffer).await.unwrap();
                    got.push(buffer[0]);
                    server.try_send(&buffer[..len], from).unwrap();
                }
            };
            let _ = timer::until(clock::after(5_000_000), all).await;
            let mut back = 0;
            while client
                .receive(&mut buffer, clock::after(5_000_000))
                .await
                .is_ok()
            {
                back += 1;
            }
            (got, back)
        })
    };
    let (mut got, back) = run(Weather::fair());
    assert!(!got.is_sorted(), "no order is kept");
    got.sort_unstable();
    assert_eq!((got, back), ((0..100).collect(), 100));
    let (got, _) = run(Weather {
        datagram_lost: MILLION / 2,
        ..Weather::fair()
    });
    assert!(got.len() > 20 && got.len() < 80);
    let (mut got, back) = run(Weather {
        datagram_doubled: MILLION,
        ..Weather::fair()
    });
    got.sort_unstable();
    assert!(got.chunks(2).all(|two| two[0] == two[1]));
    assert_eq!((got.len(), back), (200, 400));
}

#[test]
fn a_datagram_to_nobody_is_refused_and_strangers_are_not_heard() {
    World::run(1, |_| async {
        let client = Datagram::connect((ip(5), 53).into()).unwrap();
        client.send(b"x").await.unwrap();
        let error = client.receive(&mut [0; 9], NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let server = Bound::bind((ip(5), 53).into()).unwrap();
        let stranger = Bound::bind((ip(6), 53).into()).unwrap();
        client.send(b"x").await.unwrap();
        let (_, from) = server.receive(&mut [0; 9]).await.unwrap();
        stranger.try_send(b"forged", from).unwrap();
        server.try_send(b"true", from).unwrap();
        let mut buffer = [0; 9];
        assert_eq!(client.receive(&mut buffer, NEVER).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"true");
        let late = client
            .receive(&mut buffer, clock::after(10_000))
            .await
            .unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn names_are_asked_for_in_any_weather() {
    let ask = |weather: Weather| {
        World::run(5, |world| async move {
            world.host(ip(53)).spawn(async {
                let mut zone = Zone::new();
                zone.add("a.example", 300, Record::A([192, 0, 2, 1].into()));
                zone.add("long.example", 300, Record::Txt(vec![b'x'; 3000]));
                let _server = serve(zone, (ip(53), 53).into()).unwrap();
                std::future::pending::<()>().await;
            });
            world.pause(1).await;
            world.network().set(weather);
            let resolver = Resolver::new(Options::with_servers(vec![(ip(53), 53).into()]));
            let addresses = resolver
                .addresses("a.example")
                .await
                .map(|found| found.to_vec());
            let texts = resolver
                .texts("long.example")
                .await
                .map(|found| found[0].len());
            (addresses, texts)
        })
    };
    let right = (Ok(vec![ip(1)]), Ok(3000));
    assert_eq!(ask(Weather::fair()), right);
    assert_eq!(
        ask(Weather {
            dns_late: MILLION,
            dns_late_micros: 1_000_000..1_200_000,
            ..Weather::fair()
        }),
        right
    );
    assert_eq!(
        ask(Weather {
            ragged: MILLION,
            datagram_doubled: MILLION,
            ..Weather::fair()
        }),
        right
    );
    let failed = ask(Weather {
        dns_failed: MILLION,
        ..Weather::fair()
    });
    assert_eq!(failed.0, Err(DnsError::ServerFailure(2)));
    let silent = ask(Weather {
        dns_silent: MILLION,
        ..Weather::fair()
    });
    assert_eq!(silent.0, Err(DnsError::Timeout));
    let lost = ask(Weather {
        datagram_lost: MILLION,
        ..Weather::fair()
    });
    assert_eq!(lost.0, Err(DnsError::Timeout));
}
