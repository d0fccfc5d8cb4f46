//! Reading ahead: of many requests in a row the first few are under way at the same time, and their answers
//! come in order. It knows no disk; whoever awaits the next answer drives the others, too.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

enum Slot<F: Future> {
    Open(Pin<Box<F>>),
    Done(F::Output),
}

/// Requests made by an iterator. Lives as long as whoever reads; what is under way then is dropped.
pub(super) struct Ahead<I, F: Future> {
    source: I,
    depth: usize,
    slots: VecDeque<Slot<F>>,
}

impl<I: Iterator<Item = F>, F: Future> Ahead<I, F> {
    /// At most `depth` of the source's requests are under way, or answered and not yet taken.
    pub(super) fn new(depth: usize, source: I) -> Self {
        Self {
            source,
            depth,
            slots: VecDeque::with_capacity(depth),
        }
    }

    /// The next answer; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<F::Output> {
        while self.slots.len() < self.depth {
            let Some(request) = self.source.next() else {
                break;
            };
            self.slots.push_back(Slot::Open(Box::pin(request)));
        }
        if self.slots.is_empty() {
            return None;
        }
        poll_fn(|context| {
            for slot in &mut self.slots {
                if let Slot::Open(request) = slot
                    && let Poll::Ready(answer) = request.as_mut().poll(context)
                {
                    *slot = Slot::Done(answer);
                }
            }
            match self.slots.pop_front() {
                Some(Slot::Done(answer)) => Poll::Ready(Some(answer)),
                Some(open) => {
                    self.slots.push_front(open);
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Answers `number` when it was polled `delay` times.
    async fn answer(number: usize, delay: usize, open: &Cell<usize>) -> usize {
        open.set(open.get() + 1);
        for _ in 0..delay {
            futures_lite::future::yield_now().await;
        }
        open.set(open.get() - 1);
        number
    }

    #[test]
    fn answers_come_in_order_whichever_is_ready_first() {
        let open = Cell::new(0);
        let delays = [5, 0, 3, 9, 0, 0, 1];
        let source = delays
            .iter()
            .enumerate()
            .map(|(number, delay)| answer(number, *delay, &open));
        let mut ahead = Ahead::new(3, source);
        futures_lite::future::block_on(async {
            for number in 0..delays.len() {
                assert_eq!(ahead.next().await, Some(number));
                assert!(open.get() <= 2, "{} besides", open.get());
            }
            assert_eq!(ahead.next().await, None);
            assert_eq!(ahead.next().await, None);
        });
    }

    #[test]
    fn the_later_ones_run_while_the_first_is_awaited() {
        let open = Cell::new(0);
        let source = (0..4).map(|number| answer(number, 10 - number, &open));
        let mut ahead = Ahead::new(4, source);
        futures_lite::future::block_on(async {
            assert_eq!(ahead.next().await, Some(0));
            assert_eq!(open.get(), 0, "all had their turns meanwhile");
        });
    }
}
