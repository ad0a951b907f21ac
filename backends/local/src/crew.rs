//! The threads of a matrix product: the engine's own, and helpers that each compute some of its rows.
//!
//! Helpers get work by message and give their result back by message; nothing is shared but the weights. An output element is
//! computed by one thread in the same order as alone, so the number of threads changes no bit. Small products stay on one thread,
//! because waking another costs more than they do.

use crate::kernels::Kernel;
use crate::kernels::gemm::{Gemm, Matrix};
use crate::kernels::lanes::LANES;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Products of at least this many multiply-adds are shared: some 40 µs of one AVX-512 core, several times what waking takes.
const SHARE_FROM: usize = 4 << 20;

/// Runs kernels, with helpers where that pays.
#[derive(Debug)]
pub struct Crew {
    kernel: Kernel,
    helpers: Vec<Helper>,
    share_from: usize,
}

#[derive(Debug)]
struct Helper {
    /// `None` once the crew is being dropped.
    tasks: Option<SyncSender<Task>>,
    done: Receiver<Vec<f32>>,
    /// Room for the next result.
    room: Vec<f32>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Task {
    matrix: Arc<Matrix>,
    panels: Range<usize>,
    x: Arc<Vec<f32>>,
    y: Vec<f32>,
}

impl Crew {
    /// A crew of `threads` threads, the caller's included. Helpers are called `engine-1`, `engine-2`, … and run `prepare` first.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(kernel: Kernel, threads: usize, prepare: fn()) -> std::io::Result<Self> {
        let helpers = (1..threads).map(|number| Helper::start(number, kernel, prepare)).collect::<Result<_, _>>()?;
        Ok(Self { kernel, helpers, share_from: SHARE_FROM })
    }

    /// The variant it runs.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// y = matrix · x for a batch of tokens. `x` is left as it was; `y` gets its size here.
    pub fn product(&mut self, matrix: &Arc<Matrix>, x: &mut Vec<f32>, y: &mut Vec<f32>) {
        let tokens = x.len() / matrix.columns();
        let (panels, stride) = (matrix.panels(), matrix.rows());
        y.resize(tokens * stride, 0.0);
        if self.helpers.is_empty() || tokens * matrix.rows() * matrix.columns() < self.share_from {
            self.kernel.run(Gemm { matrix, panels: 0..panels, x, y, stride });
            return;
        }
        let parts = self.helpers.len() + 1;
        let part = |index: usize| index * panels / parts..(index + 1) * panels / parts;
        let shared = Arc::new(std::mem::take(x));
        for (index, helper) in self.helpers.iter_mut().enumerate() {
            let task = Task { matrix: matrix.clone(), panels: part(index + 1), x: shared.clone(), y: std::mem::take(&mut helper.room) };
            let tasks = helper.tasks.as_ref().expect("only dropping the crew takes it");
            tasks.send(task).expect("a helper ends only when the crew is dropped");
        }
        self.kernel.run(Gemm { matrix, panels: part(0), x: &shared, y, stride });
        for (index, helper) in self.helpers.iter_mut().enumerate() {
            let result = helper.done.recv().expect("a helper ends only when the crew is dropped");
            let (from, width) = (part(index + 1).start * LANES, part(index + 1).len() * LANES);
            if width > 0 {
                for (y, result) in y.chunks_exact_mut(stride).zip(result.chunks_exact(width)) {
                    y[from..from + width].copy_from_slice(result);
                }
            }
            helper.room = result;
        }
        *x = Arc::into_inner(shared).expect("helpers let go of the inputs before they answer");
    }

    /// Shares every product, however small, so that tests of small models cover it.
    #[cfg(test)]
    pub fn share_everything(&mut self) {
        self.share_from = 0;
    }
}

impl Helper {
    fn start(number: usize, kernel: Kernel, prepare: fn()) -> std::io::Result<Self> {
        let (tasks, inbox) = sync_channel::<Task>(1);
        let (outbox, done) = sync_channel(1);
        let work = move || {
            prepare();
            while let Ok(Task { matrix, panels, x, mut y }) = inbox.recv() {
                let stride = panels.len() * LANES;
                y.resize(x.len() / matrix.columns() * stride, 0.0);
                if stride > 0 {
                    kernel.run(Gemm { matrix: &matrix, panels, x: &x, y: &mut y, stride });
                }
                drop(x);
                if outbox.send(y).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("engine-{number}")).spawn(work)?;
        Ok(Self { tasks: Some(tasks), done, room: vec![], thread: Some(thread) })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A helper that panicked has already ended the engine with it; there is nothing to add while dropping.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let number = |i: usize| ((i * 7919 % 1000) as f32 - 500.0) / 500.0;
        let matrix = Arc::new(Matrix::pack(80, 24, &(0..80 * 24).map(number).collect::<Vec<_>>()));
        for kernel in Kernel::available() {
            let mut results = vec![];
            for threads in [1, 2, 3, 7] {
                let mut crew = Crew::new(kernel, threads, || ()).unwrap();
                crew.share_everything();
                for tokens in [1, 5] {
                    let mut x: Vec<f32> = (0..tokens * 24).map(|i| number(i + 13)).collect();
                    let (before, mut y) = (x.clone(), vec![]);
                    crew.product(&matrix, &mut x, &mut y);
                    assert_eq!(x, before);
                    results.push((tokens, y));
                }
            }
            for (tokens, y) in &results[2..] {
                assert_eq!(*y, results[usize::from(*tokens == 5)].1, "{} {tokens}", kernel.name());
            }
        }
    }
}
