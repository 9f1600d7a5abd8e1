// math_f64.h: math functions on doubles, included once for each shape of REAL (math.c): a double,
// one register, and as many doubles as there are f32 lanes (for pow on f32).
//
// The designs are the usual ones: reduce the argument until a short polynomial is enough, then undo
// the reduction by integer arithmetic on the exponent. Polynomials are minimax fits of the function
// that the comment names.

HELPER REAL FN(absolute)(REAL x)
{
    return AS_REAL(AS_INT(x) & INT64_MAX);
}

HELPER REAL FN(with_sign_of)(REAL magnitude, REAL sign)
{
    return AS_REAL(AS_INT(magnitude) | (AS_INT(sign) & INT64_MIN));
}

// The nearest whole number as an integer; *whole is the same as a double. |x| < 2^51.
HELPER INT FN(nearest)(REAL x, REAL *whole)
{
    REAL shifted = x + 0x1.8p52;
    *whole = shifted - 0x1.8p52;
    return AS_INT(shifted) - 0x4338000000000000;
}

HELPER REAL FN(of_int)(INT i)
{
    return AS_REAL(i + 0x4338000000000000) - 0x1.8p52;
}

// x * 2^n for |n| < 2044, rounded once: the first factor keeps x normal.
HELPER REAL FN(scale)(REAL x, INT n)
{
    INT half = n >> 1;
    return x * AS_REAL((half + 1023) << 52) * AS_REAL((n - half + 1023) << 52);
}

// e to the (x + low): 2^n e^r with |r| <= ln 2 / 2; low is a correction far below x.
HELPER REAL FN(exp_sum)(REAL x, REAL low)
{
    low = SELECT(FN(absolute)(x) > 746.0, SET(0.0), low);
    x = SELECT(x > 710.0, SET(710.0), x);
    x = SELECT(x < -746.0, SET(-746.0), x);
    REAL whole;
    INT n = FN(nearest)(x * 0x1.71547652b82fep+0, &whole);
    REAL r = x - whole * 0x1.62e42fee00000p-1; // exact: the constant has 32 bits
    r = r - whole * 0x1.a39ef35793c76p-33;
    r = r + low;
    // (e^r - 1 - r) / r^2
    REAL p = SET(2.0826435288085224e-09);
    p = p * r + 2.511226424001132e-08;
    p = p * r + 2.7557583852107034e-07;
    p = p * r + 2.7557234220934847e-06;
    p = p * r + 2.4801586922338267e-05;
    p = p * r + 0.00019841269897012768;
    p = p * r + 0.0013888888889119096;
    p = p * r + 0.008333333333316786;
    p = p * r + 0.04166666666666608;
    p = p * r + 0.16666666666666682;
    p = p * r + 0.5;
    return FN(scale)(1.0 + (r + r * r * p), n);
}

TEMPLATE_OR_HELPER REAL FN(aml_exp)(REAL x)
{
    return FN(exp_sum)(x, SET(0.0));
}

// x = 2^n m with m in [sqrt(1/2), sqrt(2)); x positive and finite.
HELPER REAL FN(split)(REAL x, INT *n)
{
    INT tiny = AS_INT(x) < 0x0010000000000000;
    x = SELECT(tiny, x * 0x1p54, x);
    INT bits = AS_INT(x);
    INT exponent = (bits - 0x3fe6a09e667f3bcd) >> 52;
    *n = exponent - ISELECT(tiny, 54);
    return AS_REAL(bits - (exponent << 52));
}

// log(1 + f) = 2s + s^3 (2/3 + z * this), s = f / (2 + f), z = s^2.
HELPER REAL FN(log_series)(REAL z)
{
    REAL p = SET(0.1319928248463348);
    p = p * z + 0.1325650846990966;
    p = p * z + 0.1538677019993097;
    p = p * z + 0.1818178409741251;
    p = p * z + 0.2222222252288611;
    p = p * z + 0.28571428570083696;
    p = p * z + 0.4000000000000229;
    return p;
}

TEMPLATE_OR_HELPER REAL FN(aml_log)(REAL x)
{
    INT exponent;
    REAL f = FN(split)(x, &exponent) - 1.0, n = FN(of_int)(exponent);
    REAL s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    REAL rest =
        s * (half + z * (0x1.5555555555555p-1 + z * FN(log_series)(z))) + n * 0x1.a39ef35793c76p-33;
    REAL result = n * 0x1.62e42fee00000p-1 - ((half - rest) - f);
    result = SELECT(x < SET((double)INFINITY), result, x); // infinity and NaN
    result = SELECT(x < 0.0, SET((double)NAN), result);
    return SELECT(x == 0.0, SET(-(double)INFINITY), result);
}

TEMPLATE_OR_HELPER REAL FN(aml_sigmoid)(REAL x)
{
    REAL e = FN(aml_exp)(-FN(absolute)(x));
    return SELECT(x < 0.0, e, SET(1.0)) / (1.0 + e);
}

TEMPLATE_OR_HELPER REAL FN(aml_tanh)(REAL x)
{
    REAL a = FN(absolute)(x), z = x * x;
    // (tanh(x) / x - 1) / x^2
    REAL p = SET(-2.276717996379727e-06);
    p = p * z + 1.1807119059094744e-05;
    p = p * z - 3.6639555832993685e-05;
    p = p * z + 9.576021926712475e-05;
    p = p * z - 0.00023877465990121093;
    p = p * z + 0.0005899503098046133;
    p = p * z - 0.0014558225018989996;
    p = p * z + 0.0035921267583162654;
    p = p * z - 0.008863235436748634;
    p = p * z + 0.02186948853178363;
    p = p * z - 0.05396825396813278;
    p = p * z + 0.13333333333333164;
    p = p * z - 0.3333333333333333;
    REAL near = x + x * z * p;
    REAL far = 1.0 - 2.0 / (1.0 + FN(aml_exp)(2.0 * SELECT(a > 22.0, SET(22.0), a)));
    return SELECT(a < 0.55, near, FN(with_sign_of)(far, x));
}

TEMPLATE_OR_HELPER REAL FN(aml_erf)(REAL x)
{
    REAL a = FN(absolute)(x), z = x * x;
    // erf(x) / x - 1
    REAL p = SET(-7.779467875726376e-10);
    p = p * z + 1.3710980058592288e-08;
    p = p * z - 1.6206313677143653e-07;
    p = p * z + 1.6447131560222528e-06;
    p = p * z - 1.492471230107242e-05;
    p = p * z + 0.00012055293576849257;
    p = p * z - 0.0008548325929312668;
    p = p * z + 0.005223977606118433;
    p = p * z - 0.02686617064311146;
    p = p * z + 0.11283791670944185;
    p = p * z - 0.3761263890318352;
    p = p * z + 0.12837916709551256;
    REAL near = x + x * p;
    // -log(1 - erf(u + 2))
    REAL u = SELECT(a > 5.95, SET(5.95), a) - 2.0;
    REAL q = SET(-2.2528286509332318e-14);
    q = q * u + 3.4609580608785903e-13;
    q = q * u - 2.4190103210431428e-12;
    q = q * u + 1.0424139218236138e-11;
    q = q * u - 2.9944573971786316e-11;
    q = q * u + 3.591884357035533e-11;
    q = q * u + 2.5650610106837513e-10;
    q = q * u - 2.519549209340333e-09;
    q = q * u + 1.3976993812676423e-08;
    q = q * u - 5.782123144932789e-08;
    q = q * u + 1.7317919883599878e-07;
    q = q * u - 2.03628099560097e-07;
    q = q * u - 1.9521784582738433e-06;
    q = q * u + 2.070642896090165e-05;
    q = q * u - 0.0001353093396037218;
    q = q * u + 0.0007323993858191354;
    q = q * u - 0.0035707563454850507;
    q = q * u + 0.01646511813692918;
    q = q * u + 0.9237508418237774;
    q = q * u + 4.418160805994415;
    q = q * u + 5.364941264616638;
    REAL far = FN(with_sign_of)(1.0 - FN(aml_exp)(-q), x);
    return SELECT(a < 1.0, near, SELECT(x == x, far, x));
}

// sin(r) and cos(r) for |r| <= pi / 4.
HELPER REAL FN(sin_near)(REAL r)
{
    REAL z = r * r;
    REAL p = SET(-7.578489079886901e-13);
    p = p * z + 1.605836248522384e-10;
    p = p * z - 2.5052104879645603e-08;
    p = p * z + 2.7557319214070106e-06;
    p = p * z - 0.0001984126984125484;
    p = p * z + 0.008333333333333323;
    p = p * z - 0.16666666666666666;
    return r + r * z * p;
}

HELPER REAL FN(cos_near)(REAL r)
{
    REAL z = r * r;
    REAL p = SET(4.737965753572514e-14);
    p = p * z - 1.147029012826423e-11;
    p = p * z + 2.0876754338859383e-09;
    p = p * z - 2.7557319215256266e-07;
    p = p * z + 2.480158730157122e-05;
    p = p * z - 0.0013888888888888874;
    p = p * z + 0.041666666666666664;
    return 1.0 - (0.5 * z - z * z * p);
}

// The sine of quarter * pi/2 + r.
HELPER REAL FN(sin_quarter)(REAL r, INT quarter)
{
    REAL value = SELECT((quarter & 1) != 0, FN(cos_near)(r), FN(sin_near)(r));
    return AS_REAL(AS_INT(value) ^ ((quarter & 2) << 62));
}

// x = quarter * pi/2 + r for |x| < 2^20: pi/2 in three parts, two of them short enough for exact
// products.
HELPER INT FN(quarter)(REAL x, REAL *r)
{
    REAL n;
    INT quarter = FN(nearest)(x * 0x1.45f306dc9c883p-1, &n);
    *r = ((x - n * 0x1.921fb54400000p+0) - n * 0x1.0b4611a600000p-34) - n * 0x1.3198a2e037073p-69;
    return quarter;
}

// ---- x to the y: log(x) and y * log(x) as sums of two doubles

// a * b = *product + *error, exactly (Dekker).
HELPER REAL FN(product)(REAL a, REAL b, REAL *error)
{
    REAL at = a * 134217729.0, ah = at - (at - a), al = a - ah;
    REAL bt = b * 134217729.0, bh = bt - (bt - b), bl = b - bh;
    REAL p = a * b;
    REAL high = ah * bh - p, middle = ah * bl, other = al * bh;
    *error = ((high + middle) + other) + al * bl;
    return p;
}

// a + b = *sum + *error, exactly.
HELPER REAL FN(sum)(REAL a, REAL b, REAL *error)
{
    REAL s = a + b, c = s - a;
    *error = (a - (s - c)) + (b - c);
    return s;
}

// Signs and special cases of x to the y, given the magnitude for finite x > 0.
HELPER REAL FN(pow_special)(REAL magnitude, REAL x, REAL y)
{
    REAL a = FN(absolute)(x), infinity = SET((double)INFINITY);
    INT whole = __builtin_elementwise_floor(y) == y,
        odd = whole & (__builtin_elementwise_floor(0.5 * y) != 0.5 * y);
    INT endless = FN(absolute)(y) == infinity;
    INT grows = (INT)((a > 1.0) == (y > 0.0));
    magnitude = SELECT(endless, SELECT(grows, infinity, SET(0.0)), magnitude);
    magnitude = SELECT((a == 0.0) | (a == infinity), SELECT(grows, infinity, SET(0.0)), magnitude);
    magnitude = SELECT(a == 1.0, SET(1.0), magnitude);
    REAL result = SELECT((x < 0.0) & (a < infinity) & (whole == 0), SET((double)NAN), magnitude);
    result = AS_REAL(AS_INT(result) ^ ISELECT(odd, AS_INT(x) & INT64_MIN));
    result = SELECT((x == x) & (y == y), result, x + y);
    return SELECT((y == 0.0) | (x == 1.0), SET(1.0), result);
}

TEMPLATE_OR_HELPER REAL FN(aml_pow)(REAL x, REAL y)
{
    INT exponent;
    REAL m = FN(split)(FN(absolute)(x), &exponent), n = FN(of_int)(exponent), f = m - 1.0;
    // s = (m - 1) / (m + 1), its square and its cube, as sums of two
    REAL dl, d = FN(sum)(m, SET(1.0), &dl);
    REAL s = f / d, e, p = FN(product)(s, d, &e);
    REAL sl = (((f - p) - e) - s * dl) / d;
    REAL zl, z = FN(product)(s, s, &zl);
    zl = zl + 2.0 * s * sl;
    REAL cl, c = FN(product)(s, z, &cl);
    cl = cl + (s * zl + sl * z);
    // log(m) = 2 s + 2/3 s^3 + the rest of the series
    REAL tl, t = FN(product)(c, SET(0x1.5555555555555p-1), &tl);
    tl = tl + (cl * 0x1.5555555555555p-1 + c * 0x1.5555555555555p-55);
    tl = tl + c * (z * FN(log_series)(z));
    // n log(2) + 2 s + t
    REAL e1, e2, high = FN(sum)(n * 0x1.62e42fefa3000p-1, 2.0 * s, &e1);
    high = FN(sum)(high, t, &e2);
    REAL low;
    high = FN(sum)(high, e1 + e2 + (2.0 * sl + tl + n * 0x1.3de6af278ece6p-42), &low);
    REAL bound = SET(0x1p100), by = SELECT(y > bound, bound, SELECT(y < -bound, -bound, y));
    REAL error, power = FN(product)(by, high, &error);
    return FN(pow_special)(FN(exp_sum)(power, error + by * low), x, y);
}
