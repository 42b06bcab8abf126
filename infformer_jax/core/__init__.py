"""Pure mathematics on arrays, without modules or training: imports numpy, jax and jaxtyping only.

Where the equations of the papers are (module.function):

    ∞-former (Martins et al. 2022)
      X(t) = Bᵀψ(t), the signal; ψ Gaussian               signal.sample, basis_families.GaussianBasis
      ridge regression onto the basis, eq. 3               ridge.ridge_operator, ridge.ridge_solve
      the read of a head, section 3.1, eqs. 10 to 14       read.read
        keys and values of the signal                      read.prepare
        μ and σ² of the density                            located.LocatedRead.locate
        E[ψ(t)] under the density                          basis.expectation
      contraction by τ and the next write, section 3.2     signal.write, time_axis.TimeAxis.moved
      sticky memories, section 3.4                         read.masses, sticky.points
      KL regularization, eq. 19                            density.kl_regularizer
    Continuous attention (Martins et al. 2020)
      continuous softmax, prop. 1                          density.GaussianDensity.normals
      continuous sparsemax, prop. 2                        density.SparsemaxDensity.normals
    ∞-Video (Santos et al. 2025)
      Gibbs density over time                              gibbs.GibbsRead.locate
    Transformer-XL (Dai et al. 2019)
      sinusoids of distances, section 3.3                  positions.sinusoids
      relative scores, section 3.3                         positions.relative_scores, positions.aged_scores
      shift of relative scores, appendix B                 positions.relative_shift
    Compressive Transformer (Rae et al. 2020)
      compression functions, section 3.1                   compression.mean_pool, compression.max_pool
                                                           compression.convolve, compression.dilated
                                                           compression.most_used
      auto-encoding loss, section 3.2                      compression.expand, compression.auto_encoding
      attention reconstruction, algorithm 2                compression.attention_reconstruction
    Memorizing Transformer (Wu et al. 2022)
      search and attention, section 3.2                    nearest_neighbours.search
                                                           nearest_neighbours.attend
      gate of local and external attention, section 3.2    attention.mixed
"""
