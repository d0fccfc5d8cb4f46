//! What is said over a connection in the kernel's net and in a seeded world's alike.

use mailrail_runtime::clock::NEVER;
use mailrail_runtime::net::stream::Stream;

const PAST: u64 = 0;

/// The left has said hello. The right reads it and answers in pieces, some of them empty, and says no more.
pub(crate) async fn answer_hello(left: &mut Stream, right: &mut Stream) {
    let mut buffer = [0; 16];
    assert_eq!(right.read(&mut buffer, NEVER).await.unwrap(), 5);
    right
        .write_slices(&[b"", b"he", b"", b"llo", b""], PAST)
        .await
        .unwrap();
    assert_eq!(left.read(&mut buffer, NEVER).await.unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    right.write_slices(&[], PAST).await.unwrap();
    right.write_slices(&[b""], PAST).await.unwrap();
    right.shut_down().unwrap();
}
