// moments: count, mean and sum of squared deviations of a set of numbers, and their merge.
// Chan, Golub and LeVeque 1979: unlike E[x^2] - E[x]^2, it does not cancel when the mean is large.

struct Moments {
    count: f32,
    mean: f32,
    m2: f32,
}

fn merge_moments(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    if count == 0.0 {
        return a;
    }
    let share = b.count / count;
    let delta = b.mean - a.mean;
    return Moments(count, fma(delta, share, a.mean), fma(delta * delta, a.count * share, a.m2 + b.m2));
}
