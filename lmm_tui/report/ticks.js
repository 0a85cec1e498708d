"use strict";
// Ticks of a report: metrics/drawing/ticks.py once more, for the ranges that a reader zooms to. A test holds that
// both give the same.
const Ticks = (() => {
  const ROUND = [1, 2, 2.5, 5, 10], MOST_PARTS = 4, SUFFIXES = ["", "k", "M", "G", "T", "P", "E"];
  const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  // Of a number halfway between two the even one, as everywhere in Python.
  const whole = (x) => Math.round(x) - x === 0.5 && Math.round(x) % 2 ? Math.floor(x) : Math.round(x);
  const decimal = (factor, exponent) => Number(`${factor}e${exponent}`);

  // To so many digits; toPrecision does not take the even one of two.
  function rounded(value, digits) {
    const [mantissa, exponent] = value.toExponential(60).split("e"), kept = digits + 1 + (value < 0);
    const half = /^50*$/.test(mantissa.slice(kept)) && "02468".includes(mantissa[kept - 1]);
    return half ? Number(`${mantissa.slice(0, kept)}e${exponent}`) : Number(value.toPrecision(digits));
  }

  // Python's %g: so many digits, without zeros at the end.
  function general(value, digits) {
    const near = rounded(value, digits), [mantissa, tail] = near.toExponential().split("e"), exponent = +tail;
    if (!near || (exponent >= -4 && exponent < digits)) return String(near);
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }

  function roundStep(span, most) {
    const rough = span / Math.max(most, 1);
    if (!(rough > 0) || !Number.isFinite(rough)) return 1;
    const exponent = Math.floor(Math.log10(rough));
    for (const factor of ROUND) {
      const step = decimal(factor, exponent);
      if (step >= rough * (1 - 1e-9)) return step;
    }
    return decimal(10, exponent);
  }

  function multiples(low, high, step) {
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n <= Math.floor(high / step + 1e-9); n++) {
      found.push(Number((n * step || 0).toPrecision(15)));
    }
    return found;
  }

  const roundTicks = (low, high, most) => multiples(low, high, roundStep(high - low, most));

  function wholeTicks(low, high, most) {
    const step = roundStep(high - low, most);
    return multiples(low, high, Number.isInteger(step) ? step : step > 1 ? 5 : 1);
  }

  function logTicks(low, high, most) {
    const bottom = Math.log10(low), top = Math.log10(high), finer = [];
    for (let exponent = Math.floor(bottom); exponent <= Math.ceil(top); exponent++) {
      for (const factor of [1, 2, 5]) {
        const value = decimal(factor, exponent);
        if (low <= value && value <= high) finer.push(value);
      }
    }
    if (finer.length <= most) return finer.length >= 3 ? finer : roundTicks(low, high, most);
    const step = Math.max(1, Math.ceil((top - bottom) / Math.max(most, 1)));
    return multiples(bottom, top, step).map((exponent) => decimal(1, whole(exponent)));
  }

  function clockTicks(low, high, most) {
    const rough = (high - low) / Math.max(most, 1), days = 86400 * roundStep((high - low) / 86400, most);
    return multiples(low, high, CLOCK.find((step) => step >= rough) ?? days);
  }

  function countLabel(value) {
    for (let power = SUFFIXES.length - 1; power > 0; power--) {
      if (Math.abs(value) >= 1000 ** power) return general(value / 1000 ** power, 4) + SUFFIXES[power];
    }
    return general(value, 6);
  }

  function clockLabel(seconds) {
    const total = whole(seconds), size = Math.abs(total), two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(size / 86400), hours = Math.floor(size / 3600) % 24;
    const minutes = Math.floor(size / 60) % 60, rest = size % 60;
    const text = days ? (hours ? `${days}d${hours}h` : `${days}d`)
      : hours ? (minutes ? `${hours}h${two(minutes)}` : `${hours}h`)
      : minutes ? (rest ? `${minutes}m${two(rest)}` : `${minutes}m`)
      : rest ? `${rest}s` : "0";
    return (total < 0 ? "-" : "") + text;
  }

  const flopsLabel = (value) => general(value, 3).replace("e+", "e");

  function logLabel(value) {
    if (value >= 0.01) return countLabel(value);
    const exponent = Math.floor(Math.log10(value));
    return `${general(value / decimal(1, exponent), 3)}e${exponent}`;
  }

  function valueOf(label) {
    const number = label.replace(/[kMGTPE]$/, "");
    return Number(number) * 1000 ** SUFFIXES.indexOf(label.slice(number.length));
  }

  // Labels in one notation, with as few digits as are exact enough; null if they do not fit.
  function tickLabels(values, width) {
    const largest = Math.max(0, ...values.map(Math.abs));
    if (!largest) return values.map(() => "0");
    const gap = Math.min(...values.slice(1).map((value, i) => value - values[i]), values.length > 1 ? Infinity : largest);
    const exponent = Math.floor(Math.log10(largest)), unit = decimal(1, exponent), notations = [];
    const power = Math.min(Math.floor(exponent / 3), SUFFIXES.length - 1);
    if (largest >= 10000) {
      notations.push((value, digits) => (value / 1000 ** power).toFixed(digits) + SUFFIXES[power]);
    } else if (largest >= 0.01) {
      notations.push((value, digits) => value.toFixed(digits));
      notations.push((value, digits) => value.toFixed(digits).replace("0.", "."));
    }
    notations.push((value, digits) => `${(value / unit).toFixed(digits)}e${exponent}`);
    for (const notation of notations) {
      for (let digits = 0; digits < 6; digits++) {
        const labels = values.map((value) => value === 0 ? "0" : notation(value, digits));
        if (labels.every((label, i) => Math.abs(valueOf(label) - values[i]) <= 0.01 * gap)) {
          if (labels.every((label) => label.length <= width)) return labels;
          break;
        }
      }
    }
    return null;
  }

  const MAKE = { step: wholeTicks, tokens: wholeTicks, time: clockTicks, flops: roundTicks };
  const LABEL = { step: countLabel, tokens: countLabel, time: clockLabel, flops: flopsLabel };

  // Pairs of position and label for an axis of `width` characters; labels do not touch.
  function xTicks(low, high, width, axis) {
    for (let most = Math.min(Math.max(Math.floor(width / 9), 2), MOST_PARTS); most > 0; most--) {
      const ticks = MAKE[axis](low, high, most).map((value) => [value, LABEL[axis](value)]);
      const cells = ticks.map(([value]) => whole((value - low) / (high - low) * (width - 1)));
      const longest = Math.max(0, ...ticks.map(([, text]) => text.length));
      if (cells.slice(1).every((cell, i) => cell - cells[i] >= longest + 2)) return ticks;
    }
    return [];
  }

  // The same for an axis of `height` lines, with labels of at most `width` characters.
  function yTicks(low, high, height, width, log) {
    for (let most = Math.min(Math.max(whole(height / 2.4), 2), MOST_PARTS); most > 0; most--) {
      const values = (log ? logTicks : roundTicks)(low, high, most);
      const labels = log ? values.map(logLabel) : tickLabels(values, width);
      if (labels && labels.length && labels.length <= height && labels.every((label) => label.length <= width)) {
        return values.map((value, i) => [value, labels[i]]);
      }
    }
    return [];
  }

  return { xTicks, yTicks, label: LABEL };
})();
