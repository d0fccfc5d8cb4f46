//! Out of descriptors. Alone in its process, since the limit is the process's.

use mailrail_runtime::clock;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane, run_one};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::Ipv4Addr;

#[test]
fn accept_without_descriptors_pauses_and_goes_on_later() {
    run_one(async {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let source = Stream::connect(listener.local(), None, clock::NEVER);
        let source = shard::spawn(Lane::Deliver, source).await.unwrap();

        let before = getrlimit(Resource::Nofile);
        // Above this number no descriptor can be had; those that are open stay.
        let none = Rlimit {
            current: Some(3),
            ..before
        };
        setrlimit(Resource::Nofile, none).unwrap();
        let begin = clock::micros();
        let errors = [listener.accept().await, listener.accept().await].map(Result::unwrap_err);
        let took = clock::micros() - begin;
        setrlimit(Resource::Nofile, before).unwrap();

        let expected = rustix::io::Errno::MFILE.raw_os_error();
        assert!(
            errors
                .iter()
                .all(|error| error.raw_os_error() == Some(expected)),
            "{errors:?}"
        );
        assert!(
            took >= 200_000,
            "a loop around it would spin: {took} micros"
        );
        assert_eq!(
            listener.accept().await.unwrap().peer(),
            source.local().unwrap()
        );
    })
    .unwrap();
}
