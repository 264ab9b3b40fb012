SELECT a ~ 'b', a !~ 'c', ~5, -~a, (a)~'x', a.b[1] ~ $1, 'x' !~ ?, a ~* 'B', a ~~ 'c', a !~~ 'd', sum(DISTINCT a) FILTER (WHERE a ~ 'q') OVER w, avg(sum(a)), ! ~ x, ~
