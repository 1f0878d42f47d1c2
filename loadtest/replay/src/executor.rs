//! Tasks one at a time, in an order that a seed decides.
//!
//! Everything that can go on waits in one set; which of it goes on next is drawn. Only when nothing can go on does time
//! move, straight to the next sleeper. A process that dies takes its tasks with it between two steps.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::chance::Dice;
use crate::world::World;

/// A task's work.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks that can go on.
#[derive(Debug, Default)]
struct Ready(Mutex<Vec<usize>>);

struct Waking {
    task: usize,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.task);
        }
    }
}

struct Task {
    process: Option<u64>,
    work: Work,
    waking: Arc<Waking>,
    waker: Waker,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The main task came to its end.
    Done,
    /// Nobody can go on, and nobody sleeps.
    Stuck,
    /// More steps than a drop can need.
    Endless,
}

/// Runs `main` and everything it spawns, until `main` ends or `most_steps` were made. Tasks that are left are dropped.
pub fn run(world: &Arc<World>, order: u64, most_steps: u64, main: Work) -> Ended {
    let ready = Arc::new(Ready::default());
    let mut dice = Dice::new(order);
    let mut tasks: Vec<Option<Task>> = Vec::new();
    let main_task = start(&mut tasks, &ready, None, main);
    let mut steps = 0_u64;
    let ended = loop {
        for (process, work) in world.take_spawned() {
            start(&mut tasks, &ready, process, work);
        }
        let next = {
            let mut ready = ready.0.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.is_empty() {
                None
            } else {
                let at = usize::try_from(dice.below(ready.len() as u64)).unwrap_or(0);
                Some(ready.swap_remove(at))
            }
        };
        let Some(next) = next else {
            if world.advance() {
                continue;
            }
            break Ended::Stuck;
        };
        let Some(Some(task)) = tasks.get_mut(next) else {
            continue;
        };
        steps += 1;
        if steps > most_steps {
            break Ended::Endless;
        }
        task.waking.queued.store(false, Ordering::Relaxed);
        let waker = task.waker.clone();
        if task.work.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            if let Some(done) = tasks.get_mut(next) {
                *done = None;
            }
            if next == main_task {
                break Ended::Done;
            }
        }
        for killed in world.take_killed() {
            for slot in &mut tasks {
                if slot.as_ref().is_some_and(|task| task.process == Some(killed)) {
                    *slot = None;
                }
            }
        }
    };
    world.count_steps(steps);
    drop(tasks);
    drop(world.take_spawned());
    ended
}

fn start(tasks: &mut Vec<Option<Task>>, ready: &Arc<Ready>, process: Option<u64>, work: Work) -> usize {
    let number = tasks.len();
    let waking = Arc::new(Waking {
        task: number,
        queued: AtomicBool::new(false),
        ready: Arc::clone(ready),
    });
    waking.wake_by_ref();
    let waker = Waker::from(Arc::clone(&waking));
    tasks.push(Some(Task {
        process,
        work,
        waking,
        waker,
    }));
    number
}
