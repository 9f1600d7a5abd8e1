// math_f32.h: math functions on floats, included once for each shape of REAL (math.c): a float, and
// one register.
//
// See math_f64.h. WIDE is as many doubles as REAL has floats: sin and cos reduce their argument in
// it, pow is computed in it.

HELPER REAL FN(absolute)(REAL x)
{
    return AS_REAL(AS_INT(x) & INT32_MAX);
}

HELPER REAL FN(with_sign_of)(REAL magnitude, REAL sign)
{
    return AS_REAL(AS_INT(magnitude) | (AS_INT(sign) & INT32_MIN));
}

// e^x = 2^n (1 + t): returns t. -105 < x < 105.
HELPER REAL FN(exp_reduced)(REAL x, INT *n)
{
    REAL shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    REAL whole = shifted - 0x1.8p23f;
    *n = AS_INT(shifted) - 0x4b400000;
    REAL r = x - whole * 0x1.62c000p-1f; // exact: the constant has 11 bits
    r = r - whole * 0x1.217f7ep-12f;
    // (e^r - 1 - r) / r^2
    REAL p = SET(0.00138143206f);
    p = p * r + 0.00836885069f;
    p = p * r + 0.0416684002f;
    p = p * r + 0.166665196f;
    p = p * r + 0.49999994f;
    return r + r * r * p;
}

TEMPLATE REAL FN(aml_exp)(REAL x)
{
    x = SELECT(x > 89.0f, SET(89.0f), x);
    x = SELECT(x < -104.0f, SET(-104.0f), x);
    INT n;
    REAL p = 1.0f + FN(exp_reduced)(x, &n);
    INT half = n >> 1; // two factors: one would not reach the denormal numbers
    return p * AS_REAL((half + 127) << 23) * AS_REAL((n - half + 127) << 23);
}

// For |x| < 80 one factor is enough.
HELPER REAL FN(exp_small)(REAL x)
{
    INT n;
    REAL p = 1.0f + FN(exp_reduced)(x, &n);
    return p * AS_REAL((n + 127) << 23);
}

TEMPLATE REAL FN(aml_log)(REAL x)
{
    INT tiny = AS_INT(x) < 0x00800000;
    REAL normal = SELECT(tiny, x * 0x1p24f, x);
    INT bits = AS_INT(normal), exponent = (bits - 0x3f3504f3) >> 23;
    REAL f = AS_REAL(bits - (exponent << 23)) - 1.0f; // 1 + f in [sqrt(1/2), sqrt(2))
    REAL n = CONVERT(exponent - ISELECT(tiny, 24));
    // (log(1 + f) - f + f^2 / 2) / f^3
    REAL p = SET(-0.0763439164f);
    p = p * f + 0.127654299f;
    p = p * f - 0.131620035f;
    p = p * f + 0.142013684f;
    p = p * f - 0.166231439f;
    p = p * f + 0.200012356f;
    p = p * f - 0.250008255f;
    p = p * f + 0.333333313f;
    REAL half = 0.5f * f * f;
    REAL result = n * 0x1.62c000p-1f + (f - (half - (f * f * f * p + n * 0x1.217f7ep-12f)));
    result = SELECT(x < SET(INFINITY), result, x); // infinity and NaN
    result = SELECT(x < 0.0f, SET(NAN), result);
    return SELECT(x == 0.0f, SET(-INFINITY), result);
}

// 1 / (1 + e^-x) with e^-x = 2^n (1 + t): 1 + 2^n is exact unless n is large, and then 1 is added
// to the smaller term, so that the sum rounds once at full size. Where the result is small, divisor
// and dividend are scaled by 2^-64.
TEMPLATE REAL FN(aml_sigmoid)(REAL x)
{
    REAL minus = SELECT(x > 80.0f, SET(-80.0f), -x);
    minus = SELECT(minus > 104.0f, SET(104.0f), minus);
    INT n;
    REAL t = FN(exp_reduced)(minus, &n);
    INT small = n > 60;
    REAL power = AS_REAL((n - ISELECT(small, 64) + 127) << 23),
         one = SELECT(small, SET(0x1p-64f), SET(1.0f));
    INT above = n > 23;
    REAL large = SELECT(above, power, one + power), little = SELECT(above, one, SET(0.0f));
    return one / (large + (little + power * t));
}

TEMPLATE REAL FN(aml_tanh)(REAL x)
{
    REAL a = FN(absolute)(x), z = x * x;
    // (tanh(x) / x - 1) / x^2
    REAL p = SET(-0.00571704563f);
    p = p * z + 0.020650588f;
    p = p * z - 0.0537434965f;
    p = p * z + 0.133314908f;
    p = p * z - 0.333332837f;
    REAL near = x + x * z * p;
    REAL far = 1.0f - 2.0f / (1.0f + FN(exp_small)(2.0f * SELECT(a > 10.0f, SET(10.0f), a)));
    return SELECT(a < 0.55f, near, FN(with_sign_of)(far, x));
}

TEMPLATE REAL FN(aml_erf)(REAL x)
{
    REAL a = FN(absolute)(x), z = x * x;
    // erf(x) / x - 1
    REAL p = SET(-0.000595374207f);
    p = p * z + 0.00498594064f;
    p = p * z - 0.02676172f;
    p = p * z + 0.112816826f;
    p = p * z - 0.376124799f;
    p = p * z + 0.128379151f;
    REAL near = x + x * p;
    // -log(1 - erf(t)) - t
    REAL t = SELECT(a > 4.0f, SET(4.0f), a);
    REAL q = SET(2.10949638e-5f);
    q = q * t - 0.000434461661f;
    q = q * t + 0.00417105854f;
    q = q * t - 0.0251194164f;
    q = q * t + 0.10828007f;
    q = q * t + 0.633346915f;
    q = q * t + 0.129514918f;
    q = q * t - 0.000174683199f;
    REAL far = FN(with_sign_of)(1.0f - FN(exp_small)(-(q + t)), x);
    return SELECT(a < 0.925f, near, SELECT(x == x, far, x));
}

// x = quarter * pi/2 + r, |r| <= pi/4, for every float: two_over_pi has 2/pi * 2^(exponent of x)
// without the multiples of 4, in two parts, of which the first has 29 bits: times the 24 bits of x
// it is exact.
HELPER INT FN(quarter)(REAL x, REAL *r)
{
    INT exponent = (AS_INT(x) >> 23) & 255, mantissa = AS_INT(x) & 0x7fffff;
    mantissa = mantissa | ISELECT(exponent != 0, 0x800000);
    WIDE m = WIDEN(FN(with_sign_of)(CONVERT(mantissa), x)), high, low;
    LOOK_UP(high, low, exponent);
    WIDE product = m * high, shifted = product + 0x1.8p52;
    *r = NARROW(((product - (shifted - 0x1.8p52)) + m * low) * 0x1.921fb54442d18p+0);
    return LOW_INT(shifted);
}

// The sine of quarter * pi/2 + r.
HELPER REAL FN(sin_quarter)(REAL r, INT quarter)
{
    REAL z = r * r;
    // (sin(r) / r - 1) / r^2
    REAL s = SET(2.7181627e-6f);
    s = s * z - 0.000198393187f;
    s = s * z + 0.00833332911f;
    s = s * z - 0.166666672f;
    // (cos(r) - 1 + r^2 / 2) / r^4
    REAL c = SET(-2.72088556e-7f);
    c = c * z + 2.47995031e-5f;
    c = c * z - 0.00138888834f;
    c = c * z + 0.0416666679f;
    REAL value = SELECT((quarter & 1) != 0, 1.0f - (0.5f * z - z * z * c), r + r * z * s);
    return AS_REAL(AS_INT(value) ^ ((quarter & 2) << 30));
}

TEMPLATE REAL FN(aml_sin)(REAL x)
{
    REAL r;
    INT quarter = FN(quarter)(x, &r);
    return FN(sin_quarter)(r, quarter);
}

TEMPLATE REAL FN(aml_cos)(REAL x)
{
    REAL r;
    INT quarter = FN(quarter)(x, &r);
    return FN(sin_quarter)(r, quarter + 1);
}

TEMPLATE REAL FN(aml_pow)(REAL x, REAL y)
{
    WIDE wide_x = WIDEN(x), wide_y = WIDEN(y);
    WIDE magnitude = WIDE_FN(aml_exp)(wide_y * WIDE_FN(aml_log)(WIDE_FN(absolute)(wide_x)));
    return NARROW(WIDE_FN(pow_special)(magnitude, wide_x, wide_y));
}
